//! What people do in a model, and the record of it.

use entity::customer;
use entity::fields::Field;
use rand::RngExt;

use super::Model;

/// So few that they collide now and then.
const EMAILS: [&str; 14] = [
    "a@x.io", "b@x.io", "c@x.io", "d@x.io", "e@x.io", "f@x.io", "g@x.io", "h@x.io", "i@x.io",
    "j@x.io", "k@x.io", "l@x.io", "m@x.io", "n@x.io",
];

impl Model {
    pub(super) async fn create_here(&mut self) {
        let email = self.email();
        let name = self.value();
        let named = [("email", email), ("name", name.as_str())];
        let Ok(row) = self.world.try_create(&named).await else {
            return;
        };
        self.note(format!("row {} {email} {name}", row.id));
        self.rows.push(row.id);
        self.messages.push(row.id);
        self.ours
            .insert((row.id, Field::Name), vec![(self.step, name)]);
    }

    pub(super) async fn edit_here(&mut self) {
        let Some(row) = self.living().await else {
            return;
        };
        let (field, value) = self.edit();
        let named = [(field.as_str(), value.as_str())];
        let Ok(edited) = self.world.try_update(row.id, &named).await else {
            return;
        };
        self.note(format!("row {} {field}={value} rev {}", row.id, edited.rev));
        if edited.rev > row.rev {
            self.messages.push(row.id);
            let edits = self.ours.entry((row.id, field)).or_default();
            edits.push((self.step, value));
        }
    }

    pub(super) async fn delete_here(&mut self) {
        let Some(row) = self.living().await else {
            return;
        };
        self.world.delete(row.id).await;
        self.note(format!("row {} deleted", row.id));
        self.messages.push(row.id);
        self.deleted_here.insert(row.id);
    }

    pub(super) fn create_there(&mut self) {
        let email = self.email();
        let name = self.value();
        let stripe_id = self
            .world
            .stripe_creates(&[("email", email), ("name", &name)]);
        self.note(format!("{stripe_id} {email} {name}"));
        self.customers.push(stripe_id.clone());
        self.theirs
            .insert((stripe_id, Field::Name), vec![(self.step, name)]);
    }

    pub(super) fn edit_there(&mut self) {
        let Some(stripe_id) = self.any(&self.in_stripe()) else {
            return;
        };
        let (field, value) = self.edit();
        self.world
            .stripe_edits(&stripe_id, &[(field.as_str(), &value)]);
        self.note(format!("{stripe_id} {field}={value}"));
        let edits = self.theirs.entry((stripe_id, field)).or_default();
        edits.push((self.step, value));
    }

    pub(super) fn delete_there(&mut self) {
        let Some(stripe_id) = self.any(&self.in_stripe()) else {
            return;
        };
        self.world.stripe_deletes(&stripe_id);
        self.note(format!("{stripe_id} deleted"));
        self.deleted_there.insert(stripe_id);
    }

    async fn living(&mut self) -> Option<customer::Model> {
        let rows = self.world.rows().await;
        self.any(&rows)
    }

    fn in_stripe(&self) -> Vec<String> {
        let customers = self.world.stripe.sandbox.customers();
        let id = |customer: &serde_json::Value| customer["id"].as_str().unwrap().to_owned();
        // The oldest is the one that stays.
        customers.iter().rev().skip(1).map(id).collect()
    }

    fn edit(&mut self) -> (Field, String) {
        match self.rng.random_range(0..8) {
            0 => (Field::Email, self.email().to_owned()),
            1..4 => (Field::Phone, self.value()),
            _ => (Field::Name, self.value()),
        }
    }

    fn email(&mut self) -> &'static str {
        EMAILS[self.rng.random_range(0..EMAILS.len())]
    }

    /// No two edits give the same.
    fn value(&mut self) -> String {
        format!("v{}", self.step)
    }
}
