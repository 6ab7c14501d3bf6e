//! What people do on either side, and the record of it.

use entity::email::normal_form;
use entity::fields::{Field, Fields};
use entity::{customer, stripe_link};
use poem::http::Method;
use poem::{Endpoint, Request};
use rand::RngExt;
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Model;
use super::ledger::Edit;

/// So few that they collide now and then.
const EMAILS: [&str; 10] = [
    "a@x.io",
    "b@x.io",
    "c@x.io",
    "d@x.io",
    "e@x.io",
    "f@x.io",
    "g@x.io",
    "H@x.io",
    "i@bücher.io",
    "j@x.io",
];

/// How often it is the same customer that is edited.
const FAVOURED: f64 = 0.4;

impl Model {
    async fn call(&mut self, method: Method, path: &str, body: Value) -> Option<Value> {
        let request = Request::builder()
            .method(method)
            .uri_str(path)
            .content_type("application/json")
            .body(body.to_string());
        let response = self
            .world
            .api
            .call(request)
            .await
            .expect("every error is an answer");
        let status = response.status();
        let text = response.into_body().into_string().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(
            !status.is_server_error(),
            "{path} {body}: {status} {answer}"
        );
        status.is_success().then_some(answer)
    }

    pub(super) async fn create_here(&mut self) {
        let (email, name) = (self.email(), self.value());
        let named = json!({"email": email, "name": name});
        let path = match self.rng.random_bool(0.5) {
            true => "/api/create-customer/",
            false => "/api/v1/customers",
        };
        let Some(_) = self.call(Method::POST, path, named).await else {
            return;
        };
        let key = normal_form(email);
        let row = customer::find_living_by_email_key(&self.world.db, &key).await;
        let row = row.unwrap().expect("it was created");
        let called = self.called(row.id);
        self.note(format!("{called} created: {email} {name}"));
        self.ledger.edits += 1;
        for (field, value) in [(Field::Email, email.to_owned()), (Field::Name, name)] {
            let edit = Edit::new(self.moment, (None, Some(value.as_str())), None);
            self.ledger.edited_here(row.id, field, edit);
        }
    }

    pub(super) async fn edit_here(&mut self) {
        if let Some(row) = self.living().await {
            let (field, value) = self.edit(&row.fields());
            self.change_here(&row, field, value).await;
        }
    }

    async fn change_here(&mut self, row: &customer::Model, field: Field, value: Option<String>) {
        let path = format!("/api/v1/customers/{}", row.id);
        let patch = json!({field.as_str(): value});
        let Some(_) = self.call(Method::PATCH, &path, patch).await else {
            return;
        };
        let known = row.fields();
        if known.get(field) == value.as_deref() {
            return;
        }
        let called = self.called(row.id);
        self.note(format!("{called} {field} = {value:?}"));
        self.ledger.edits += 1;
        let link = stripe_link::find(&self.world.db, row.id).await.unwrap();
        let agreed = link
            .as_ref()
            .and_then(|link| link.base.as_ref())
            .map(|base| base.get(field));
        let values = (known.get(field), value.as_deref());
        let edit = Edit::new(self.moment, values, agreed);
        self.ledger.edited_here(row.id, field, edit);
    }

    /// Two customers get each other's e-mail.
    pub(super) async fn swap_here(&mut self) {
        let rows = self.all_living().await;
        let (Some(one), Some(other)) = (self.any(&rows), self.any(&rows)) else {
            return;
        };
        if one.id == other.id {
            return;
        }
        let between = format!("between{}@x.io", self.moment);
        self.change_here(&one, Field::Email, Some(between.clone()))
            .await;
        self.moment += 1;
        self.change_here(&other, Field::Email, Some(one.email.clone()))
            .await;
        self.moment += 1;
        let one = customer::find(&self.world.db, one.id)
            .await
            .unwrap()
            .unwrap();
        self.change_here(&one, Field::Email, Some(other.email))
            .await;
    }

    pub(super) async fn delete_here(&mut self) {
        let Some(row) = self.living().await else {
            return;
        };
        let deleted = match self.rng.random_bool(0.5) {
            true => {
                let body = json!({"email": row.email});
                self.call(Method::DELETE, "/api/delete-customer/", body)
                    .await
            }
            false => {
                let path = format!("/api/v1/customers/{}", row.id);
                self.call(Method::DELETE, &path, Value::Null).await
            }
        };
        if deleted.is_some() {
            let called = self.called(row.id);
            self.note(format!("{called} deleted"));
            self.ledger.edits += 1;
            self.ledger.deleted_here.insert(row.id);
            self.note_beside_deleted(&row).await;
        }
    }

    /// None of them may become a customer here because of the deletion.
    async fn note_beside_deleted(&mut self, row: &customer::Model) {
        let link = stripe_link::find(&self.world.db, row.id).await.unwrap();
        let is_linked = |link: &stripe_link::Model| {
            link.stripe_id.is_some() && link.parked_reason.is_none() && link.detached_at.is_none()
        };
        if !link.as_ref().is_some_and(is_linked) {
            return;
        }
        for customer in self.world.sandbox.sandbox.customers() {
            let id = customer["id"].as_str().unwrap();
            let email = customer["email"].as_str().unwrap_or_default();
            let is_unlinked = self.link_of(id).await.is_none() && names_row(&customer).is_none();
            if email.eq_ignore_ascii_case(&row.email) && is_unlinked {
                let beside = (id.to_owned(), self.moment);
                self.ledger.beside_deleted.extend([beside]);
            }
        }
    }

    pub(super) fn create_there(&mut self) {
        let (email, name) = (self.email(), self.value());
        let mut named = vec![("email", email.to_owned()), ("name", name)];
        if self.rng.random_bool(0.1) {
            named.remove(0);
        }
        self.made_there(&named);
    }

    fn made_there(&mut self, named: &[(&str, String)]) {
        let pairs: Vec<(&str, &str)> = named
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let customer = self.world.sandbox.sandbox.create_as_human(&pairs).unwrap();
        let id = customer["id"].as_str().unwrap().to_owned();
        self.note(format!("{id} created in Stripe: {}", spelled(named)));
        self.ledger.edits += 1;
        self.ledger.shown_by_person(&customer, self.moment, None);
    }

    pub(super) async fn edit_there(&mut self) {
        let Some(customer) = self.living_there().await else {
            return;
        };
        let (field, value) = self.edit(&super::ledger::field_values(&customer));
        let id = customer["id"].as_str().unwrap().to_owned();
        if field == Field::Email && self.is_in_doubt(&customer).await {
            return;
        }
        self.change_there(&id, &[(field.as_str(), value.unwrap_or_default())])
            .await;
    }

    async fn change_there(&mut self, stripe_id: &str, named: &[(&str, String)]) {
        let pairs: Vec<(&str, &str)> = named
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let customer = self
            .world
            .sandbox
            .sandbox
            .edit_as_human(stripe_id, &pairs)
            .unwrap();
        self.note(format!("{stripe_id} edited in Stripe: {}", spelled(named)));
        self.ledger.edits += 1;
        let link = self.link_of(stripe_id).await;
        self.ledger
            .shown_by_person(&customer, self.moment, link.as_ref());
    }

    /// Some customers get each other's e-mails, at once.
    pub(super) async fn swap_there(&mut self) {
        let customers = self.in_stripe();
        let count = self.rng.random_range(2..=3);
        if customers.len() < count {
            return;
        }
        let first = self.rng.random_range(0..=customers.len() - count);
        let ring = &customers[first..first + count];
        for customer in ring {
            if self.is_in_doubt(customer).await {
                return;
            }
        }
        let email = |customer: &Value| customer["email"].as_str().unwrap_or_default().to_owned();
        for (place, customer) in ring.iter().enumerate() {
            let next = email(&ring[(place + 1) % count]);
            let id = customer["id"].as_str().unwrap().to_owned();
            self.change_there(&id, &[("email", next)]).await;
        }
    }

    /// We have made it, and nobody here knows of it yet: it is found by its e-mail.
    async fn is_in_doubt(&self, customer: &Value) -> bool {
        let id = customer["id"].as_str().unwrap();
        names_row(customer).is_some() && self.link_of(id).await.is_none()
    }

    pub(super) async fn delete_there(&mut self) {
        let Some(customer) = self.any(&self.in_stripe()) else {
            return;
        };
        let id = customer["id"].as_str().unwrap().to_owned();
        self.world.sandbox.sandbox.delete_as_human(&id).unwrap();
        self.note(format!("{id} deleted in Stripe"));
        self.ledger.edits += 1;
        if let Some(link) = self.link_of(&id).await {
            let former = self.ledger.former.entry(link.customer_id).or_default();
            former.push(id.clone());
        }
        self.ledger.deleted_there.insert(id);
    }

    /// Somebody who tidies up removes our metadata, or copies a customer with all that it has.
    pub(super) async fn meddle_there(&mut self) {
        let Some(customer) = self.any(&self.in_stripe()) else {
            return;
        };
        let id = customer["id"].as_str().unwrap().to_owned();
        if self.link_of(&id).await.is_none() {
            return;
        }
        let mark = |name: &str| {
            customer["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (row, stamp) = (mark("customer_sync_id"), mark("customer_sync_rev_name"));
        match self.rng.random_range(0..3) {
            0 => self.change_there(&id, &[("metadata", String::new())]).await,
            1 => {
                self.change_there(&id, &[("metadata[customer_sync_rev_name]", String::new())])
                    .await
            }
            _ if row.is_empty() => {}
            _ => {
                let name = self.value();
                let email = customer["email"].as_str().unwrap_or_default().to_owned();
                self.made_there(&[
                    ("email", email),
                    ("name", name),
                    ("metadata[customer_sync_id]", row),
                    ("metadata[customer_sync_rev_name]", stamp),
                ]);
            }
        }
    }

    pub(super) async fn all_living(&self) -> Vec<customer::Model> {
        let rows = customer::Entity::find().order_by_asc(customer::Column::Id);
        let mut rows = rows.all(&self.world.db).await.unwrap();
        rows.retain(|row| !row.is_deleted());
        rows
    }

    /// The oldest one is edited most, so that edits, pushes and late requests meet.
    async fn living(&mut self) -> Option<customer::Model> {
        let rows = self.all_living().await;
        match self.rng.random_bool(FAVOURED) {
            true => rows.into_iter().next(),
            false => self.any(&rows),
        }
    }

    /// And so is its counterpart.
    async fn living_there(&mut self) -> Option<Value> {
        let customers = self.in_stripe();
        let favourite = self.all_living().await.first().map(|row| row.id);
        let counterpart = customers.iter().find(|one| names_row(one) == favourite);
        match counterpart.filter(|_| favourite.is_some()) {
            Some(customer) if self.rng.random_bool(FAVOURED) => Some(customer.clone()),
            _ => self.any(&customers),
        }
    }

    fn in_stripe(&self) -> Vec<Value> {
        let mut customers = self.world.sandbox.sandbox.customers();
        // The oldest is the one that stays: a list with nothing in it would be refused.
        customers.pop();
        customers
    }

    fn edit(&mut self, known: &Fields) -> (Field, Option<String>) {
        let field = match self.rng.random_range(0..10) {
            0 | 1 => Field::Email,
            2..5 => Field::Phone,
            5..9 => Field::Name,
            _ => Field::Description,
        };
        if field == Field::Email {
            return (field, Some(self.email().to_owned()));
        }
        let is_cleared = known.get(field).is_some() && self.rng.random_bool(0.1);
        (field, (!is_cleared).then(|| self.value()))
    }

    fn email(&mut self) -> &'static str {
        EMAILS[self.rng.random_range(0..EMAILS.len())]
    }

    /// No two edits give the same, but now and then somebody restores an old value.
    fn value(&mut self) -> String {
        let moment = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(0..=self.moment),
            _ => self.moment,
        };
        format!("v{moment}")
    }
}

fn spelled(named: &[(&str, String)]) -> String {
    let mut text = Vec::new();
    for (name, value) in named {
        match name.starts_with("metadata") {
            // A row's id is another one each time.
            true => text.push((*name).to_owned()),
            false => text.push(format!("{name} = {value:?}")),
        }
    }
    text.join(", ")
}

/// The id of a row, from Stripe's side.
pub(super) fn names_row(customer: &Value) -> Option<Uuid> {
    customer["metadata"]["customer_sync_id"]
        .as_str()?
        .parse()
        .ok()
}
