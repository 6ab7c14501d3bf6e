//! What must hold in the end.

use std::collections::HashMap;

use entity::conflict;
use entity::customer;
use entity::fields::Field;
use entity::stripe_link;
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::Model;
use crate::harness::look::field_values;

/// Each with a person's next step.
const PARKED: [&str; 2] = ["deleted_in_stripe", "email_taken"];

impl Model {
    pub(super) async fn check(&mut self) -> Result<(), String> {
        self.nothing_is_made_twice()?;
        let db = &self.world.engine.db;
        let rows = customer::Entity::find().all(db).await.unwrap();
        let links = stripe_link::Entity::find().all(db).await.unwrap();
        let links: HashMap<Uuid, stripe_link::Model> = links
            .into_iter()
            .map(|link| (link.customer_id, link))
            .collect();
        let conflicts = self.world.conflicts().await;
        for row in &rows {
            let link = links
                .get(&row.id)
                .ok_or(format!("{} is not linked", row.id))?;
            if row.is_deleted() {
                self.is_rightly_gone(row, link)?;
            } else {
                self.agrees(row, link, &conflicts)?;
            }
        }
        self.every_customer_is_known(&links).await?;
        self.a_further_pass_does_nothing().await
    }

    fn nothing_is_made_twice(&self) -> Result<(), String> {
        let mut made: HashMap<String, usize> = HashMap::new();
        for event in self.world.stripe.sandbox.events() {
            let customer = &event["data"]["object"];
            // One that a person deleted before anybody here had heard of it leaves no trace.
            let is_gone = customer["id"]
                .as_str()
                .is_some_and(|id| self.deleted_there.contains(id));
            if event["type"] == "customer.created"
                && let Some(id) = customer["metadata"]["customer_sync_id"].as_str()
                && !is_gone
            {
                *made.entry(id.to_owned()).or_default() += 1;
            }
        }
        match made.into_iter().find(|(_, count)| *count > 1) {
            Some((id, count)) => Err(format!("{id} was made {count} times")),
            None => Ok(()),
        }
    }

    fn is_rightly_gone(
        &self,
        row: &customer::Model,
        link: &stripe_link::Model,
    ) -> Result<(), String> {
        let stripe_id = link.stripe_id.clone().unwrap_or_default();
        let by_whom = (
            self.deleted_here.contains(&row.id),
            self.deleted_there.contains(&stripe_id),
        );
        if by_whom == (false, false) {
            return Err(format!("{} was deleted by nobody", row.id));
        }
        if link.synced_rev != row.rev {
            return Err(format!("the deletion of {} waits", row.id));
        }
        let shown = self.world.stripe.sandbox.customer(&stripe_id);
        if shown.is_some_and(|shown| shown["deleted"] != true) {
            return Err(format!("{stripe_id} outlives {}", row.id));
        }
        Ok(())
    }

    fn agrees(
        &self,
        row: &customer::Model,
        link: &stripe_link::Model,
        conflicts: &[conflict::Model],
    ) -> Result<(), String> {
        let parked = link.parked_reason.as_deref();
        if parked == Some("deleted_in_stripe") {
            return Ok(());
        }
        if parked.is_some_and(|reason| !PARKED.contains(&reason)) {
            return Err(format!("{} is parked: {parked:?}", row.id));
        }
        let stripe_id = link.stripe_id.clone().unwrap_or_default();
        let shown = self.world.stripe.sandbox.customer(&stripe_id);
        let shown = shown.ok_or(format!("{} is not in stripe", row.id))?;
        if shown["deleted"] == true {
            return Err(format!("{} outlives {stripe_id}", row.id));
        }
        let mut values = field_values(&shown);
        if parked.is_some() {
            values.email = Some(row.email.clone());
        }
        let open: Vec<Field> = conflicts
            .iter()
            .filter(|one| one.customer_id == row.id && one.resolved_at.is_none())
            .map(|one| one.field.parse().unwrap())
            .collect();
        for field in &open {
            values.set(*field, row.fields().get(*field).map(str::to_owned));
        }
        if values != row.fields() || link.synced_rev != row.rev {
            return Err(format!("{row:?} differs from {shown} by {link:?}"));
        }
        for field in [Field::Name, Field::Phone] {
            if open.contains(&field) {
                continue;
            }
            self.no_edit_went_silently(row, &stripe_id, field, conflicts)?;
        }
        Ok(())
    }

    /// The value is the last edit's of one side; the last edit of the other side is older, or stands in a
    /// conflict.
    fn no_edit_went_silently(
        &self,
        row: &customer::Model,
        stripe_id: &str,
        field: Field,
        conflicts: &[conflict::Model],
    ) -> Result<(), String> {
        let fields = row.fields();
        let value = fields.get(field);
        let ours = self.ours.get(&(row.id, field)).and_then(|all| all.last());
        let theirs = (stripe_id.to_owned(), field);
        let theirs = self.theirs.get(&theirs).and_then(|all| all.last());
        let held = |edit: Option<&(usize, String)>| {
            edit.is_some_and(|(_, edited)| value == Some(edited.as_str()))
        };
        let of_row = || conflicts.iter().filter(|one| one.customer_id == row.id);
        let lost = match (ours, theirs) {
            (Some(ours), Some(theirs)) if held(Some(ours)) => {
                let is_kept = of_row().any(|one| one.stripe_value.as_ref() == Some(&theirs.1));
                theirs.0 > ours.0 && !is_kept
            }
            (Some(ours), Some(theirs)) if held(Some(theirs)) => {
                let is_kept = of_row().any(|one| one.database_value.as_ref() == Some(&ours.1));
                ours.0 > theirs.0 && !is_kept
            }
            (None, None) => value.is_some(),
            (ours, theirs) => !held(ours) && !held(theirs),
        };
        if lost {
            return Err(format!(
                "{field} of {} and {stripe_id} is {value:?}; ours {ours:?}, theirs {theirs:?}, {:?}",
                row.id,
                of_row().collect::<Vec<_>>()
            ));
        }
        Ok(())
    }

    /// Whatever lives in Stripe is a row's, or is shown as nobody's.
    async fn every_customer_is_known(
        &self,
        links: &HashMap<Uuid, stripe_link::Model>,
    ) -> Result<(), String> {
        let unmatched = self.world.unmatched().await;
        for customer in self.world.stripe.sandbox.customers() {
            let id = customer["id"].as_str().unwrap();
            let is_linked = links
                .values()
                .any(|link| link.stripe_id.as_deref() == Some(id));
            let is_shown = unmatched.iter().any(|entry| entry.stripe_id == id);
            if is_linked == is_shown {
                return Err(format!("{id}: linked {is_linked}, unmatched {is_shown}"));
            }
        }
        for stripe_id in self.deleted_there.iter().chain(&self.customers) {
            let known = self.world.stripe.sandbox.customer(stripe_id).unwrap();
            let by_us = links.values().any(|link| {
                link.stripe_id.as_ref() == Some(stripe_id)
                    && self.deleted_here.contains(&link.customer_id)
            });
            if known["deleted"] == true && !by_us && !self.deleted_there.contains(stripe_id) {
                return Err(format!("{stripe_id} was deleted by nobody"));
            }
        }
        Ok(())
    }

    async fn a_further_pass_does_nothing(&mut self) -> Result<(), String> {
        self.world.watch_writes().await;
        self.world.forget_requests();
        self.world.pass().await;
        self.world.later(std::time::Duration::from_secs(600));
        self.world.due().await;
        let (writes, calls) = (self.world.writes().await, self.world.calls());
        if writes.is_empty() && calls.is_empty() {
            return Ok(());
        }
        Err(format!("a further pass: {writes:?} {calls:?}"))
    }
}
