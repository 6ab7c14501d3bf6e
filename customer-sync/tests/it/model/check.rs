//! What must hold in the end.

use std::collections::{HashMap, HashSet};

use entity::fields::Field;
use entity::fingerprint::NOTHING;
use entity::{conflict, customer, stripe_link, unmatched};
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder, Statement};
use serde_json::Value;
use uuid::Uuid;

use super::Model;
use super::ledger::{Edit, field_values};
use super::people::names_row;

/// Each with a person's next step.
const PARKED: [&str; 5] = [
    "unfinished",
    "deleted_in_stripe",
    "email_taken",
    "email_removed_in_stripe",
    "link_review",
];

/// The tables that nothing may be written to while nothing happens.
const WATCHED: [&str; 5] = ["customer", "stripe_link", "conflict", "unmatched", "outbox"];

type Held = Result<(), String>;

/// Our side at the end.
struct End {
    rows: Vec<customer::Model>,
    links: HashMap<Uuid, stripe_link::Model>,
    conflicts: Vec<conflict::Model>,
    unmatched: HashSet<String>,
}

impl Model {
    pub(super) async fn check(&mut self) -> Held {
        let db = &self.world.db;
        let rows = customer::Entity::find().order_by_asc(customer::Column::Id);
        let links = stripe_link::Entity::find().all(db).await.unwrap();
        let unmatched = unmatched::Entity::find().all(db).await.unwrap();
        let end = End {
            rows: rows.all(db).await.unwrap(),
            links: links
                .into_iter()
                .map(|link| (link.customer_id, link))
                .collect(),
            conflicts: conflict::Entity::find().all(db).await.unwrap(),
            unmatched: unmatched.into_iter().map(|entry| entry.stripe_id).collect(),
        };
        self.nothing_is_made_twice()?;
        for row in &end.rows {
            let Some(link) = end.links.get(&row.id) else {
                return Err(format!("{} is not linked: nobody has looked at it", row.id));
            };
            // A pass trusts it, and looks no further.
            let is_gone = row.is_deleted() && link.fingerprint == Some(NOTHING);
            let is_right = link.fingerprint == Some(link.expected_fingerprint());
            if link.stripe_id.is_some() && !is_gone && !is_right {
                return Err(format!("the fingerprint of {} is another's", row.id));
            }
            match row.is_deleted() {
                true => self.is_rightly_gone(row, link)?,
                false => {
                    self.agrees(row, link, &end.conflicts)?;
                    self.is_not_recreated(row, link)?;
                }
            }
        }
        self.every_customer_is_known(&end)?;
        self.calls_are_bounded()?;
        self.a_further_pass_does_nothing().await
    }

    fn nothing_is_made_twice(&self) -> Held {
        let mut made: HashMap<Uuid, Vec<String>> = HashMap::new();
        for event in self.world.sandbox.sandbox.events() {
            let by_us = !event["request"]["id"].is_null();
            let customer = &event["data"]["object"];
            if event["type"] == "customer.created"
                && by_us
                && let Some(row) = names_row(customer)
            {
                let id = customer["id"].as_str().unwrap().to_owned();
                // One that a person deleted before anybody here had heard of it leaves no trace.
                if !self.ledger.deleted_there.contains(&id) {
                    made.entry(row).or_default().push(id);
                }
            }
        }
        match made.into_iter().find(|(_, made)| made.len() > 1) {
            Some((row, made)) => Err(format!("{row} was created {} times: {made:?}", made.len())),
            None => Ok(()),
        }
    }

    fn counterpart(&self, link: &stripe_link::Model) -> Option<Value> {
        let stripe_id = link.stripe_id.as_deref()?;
        self.world.sandbox.sandbox.customer(stripe_id)
    }

    fn is_rightly_gone(&self, row: &customer::Model, link: &stripe_link::Model) -> Held {
        let stripe_id = link.stripe_id.clone().unwrap_or_default();
        let by_whom = (
            self.ledger.deleted_here.contains(&row.id),
            self.ledger.deleted_there.contains(&stripe_id),
        );
        if by_whom == (false, false) {
            return Err(format!("{} was deleted by nobody", row.id));
        }
        if link.synced_rev != row.rev {
            return Err(format!("the deletion of {} waits: {link:?}", row.id));
        }
        let is_detached = link.detached_at.is_some();
        match self.counterpart(link) {
            Some(shown) if shown["deleted"] != true && !is_detached => {
                Err(format!("{stripe_id} outlives {}", row.id))
            }
            _ => Ok(()),
        }
    }

    /// A row that nobody has made here is of none of the customers that were left beside a deleted one.
    fn is_not_recreated(&self, row: &customer::Model, link: &stripe_link::Model) -> Held {
        let ledger = &self.ledger;
        let id = link.stripe_id.clone().unwrap_or_default();
        let Some(since) = ledger.beside_deleted.get(&id) else {
            return Ok(());
        };
        let is_ours = ledger.ours.contains_key(&(row.id, Field::Email));
        let has_other_email = ledger
            .theirs
            .get(&(id.clone(), Field::Email))
            .is_some_and(|edits| edits.iter().any(|edit| edit.moment > *since));
        if is_ours || has_other_email || ledger.former.contains_key(&row.id) {
            return Ok(());
        }
        Err(format!("{} was recreated from {id}", row.id))
    }

    fn agrees(
        &self,
        row: &customer::Model,
        link: &stripe_link::Model,
        conflicts: &[conflict::Model],
    ) -> Held {
        let parked = link.parked_reason.as_deref();
        if let Some(reason) = parked.filter(|reason| !PARKED.contains(reason)) {
            return Err(format!("{} is parked: {reason} {link:?}", row.id));
        }
        if matches!(
            parked,
            Some("deleted_in_stripe" | "link_review" | "unfinished")
        ) || link.detached_at.is_some()
        {
            return Ok(());
        }
        let Some(shown) = self.counterpart(link) else {
            return Err(format!("{} is not in Stripe: {link:?}", row.id));
        };
        if shown["deleted"] == true {
            return Err(format!("{} outlives {}", row.id, shown["id"]));
        }
        let mut values = field_values(&shown);
        let mut left_out: HashSet<Field> = conflicts
            .iter()
            .filter(|one| one.customer_id == row.id && one.resolved_at.is_none())
            .map(|one| one.field.parse().unwrap())
            .collect();
        if parked.is_some() {
            left_out.insert(Field::Email);
        }
        for field in &left_out {
            values.set(*field, row.fields().get(*field).map(str::to_owned));
        }
        if values != row.fields() || link.synced_rev != row.rev {
            return Err(format!("the sides differ: {row:?}\n{shown}\n{link:?}"));
        }
        for field in Field::ALL {
            if !left_out.contains(&field) {
                self.no_edit_went_silently(row, &shown, field, conflicts)?;
            }
        }
        Ok(())
    }

    /// The last edit of each side holds, or stands in a conflict, or was replaced by somebody who had it.
    fn no_edit_went_silently(
        &self,
        row: &customer::Model,
        shown: &Value,
        field: Field,
        conflicts: &[conflict::Model],
    ) -> Held {
        let stripe_id = shown["id"].as_str().unwrap().to_owned();
        let fields = row.fields();
        let value = fields.get(field);
        let ours = self.ledger.ours.get(&(row.id, field));
        let theirs = self.ledger.theirs.get(&(stripe_id.clone(), field));
        let of_field: Vec<&conflict::Model> = conflicts
            .iter()
            .filter(|one| one.customer_id == row.id && one.field == field.as_str())
            .collect();
        let is_kept = |edit: &Edit| {
            value == edit.value.as_deref()
                || of_field
                    .iter()
                    .any(|one| one.database_value == edit.value || one.stripe_value == edit.value)
        };
        let last = |edits: Option<&Vec<Edit>>| {
            edits
                .into_iter()
                .flatten()
                .max_by_key(|edit| edit.moment)
                .cloned()
        };
        let former = self.ledger.former_edits(row, field);
        // A value that was cleared here is taken from the customer that takes the deleted one's place.
        let was_relinked = !former.is_empty() || self.ledger.former.contains_key(&row.id);
        let is_filled = |edit: &Edit| was_relinked && edit.value.is_none();
        let ours_last = last(ours).filter(|edit| !is_filled(edit));
        let theirs_last = last(theirs);
        // An edit of the other side replaces it rightly only if that side had it.
        let was_replaced = |edit: &Edit, others: Option<&Vec<Edit>>| {
            let mut others = others.into_iter().flatten();
            let mut former = former.iter();
            others.any(|other| other.moment > edit.moment && other.replaced == edit.value)
                || former.any(|other| other.moment > edit.moment && is_kept(other))
        };
        let is_lost = |edit: &Option<Edit>, others: Option<&Vec<Edit>>| {
            edit.as_ref()
                .filter(|edit| !edit.is_excused)
                .is_some_and(|edit| !is_kept(edit) && !was_replaced(edit, others))
        };
        let all = ours.into_iter().chain(theirs).flatten().chain(&former);
        let is_somebodys =
            value.is_none() || all.clone().any(|edit| edit.value.as_deref() == value);
        if is_somebodys && !is_lost(&ours_last, theirs) && !is_lost(&theirs_last, ours) {
            return Ok(());
        }
        Err(format!(
            "{field} of {} and {stripe_id} is {value:?}, and yet the last edit here is {ours_last:?} and the last \
             in Stripe {theirs_last:?}; conflicts: {of_field:?}",
            row.id
        ))
    }

    /// Whatever lives in Stripe is a row's, or is shown as nobody's.
    fn every_customer_is_known(&self, end: &End) -> Held {
        let linked: HashMap<&str, &stripe_link::Model> = end
            .links
            .values()
            .filter_map(|link| Some((link.stripe_id.as_deref()?, link)))
            .collect();
        for customer in self.world.sandbox.sandbox.customers() {
            let id = customer["id"].as_str().unwrap();
            let is_let_go = !customer["metadata"]["customer_sync_detached"].is_null();
            let (is_linked, is_shown) = (linked.contains_key(id), end.unmatched.contains(id));
            if is_linked == is_shown && !is_let_go {
                return Err(format!(
                    "{id}: linked {is_linked}, noted as unmatched {is_shown}"
                ));
            }
        }
        for event in self.world.sandbox.sandbox.events() {
            if event["type"] != "customer.deleted" {
                continue;
            }
            let id = event["data"]["object"]["id"].as_str().unwrap();
            let row = linked.get(id).map(|link| link.customer_id);
            let by_us = row.is_some_and(|row| self.ledger.deleted_here.contains(&row));
            if !by_us && !self.ledger.deleted_there.contains(id) {
                return Err(format!(
                    "{id} was deleted in Stripe, and nobody has asked for it"
                ));
            }
        }
        Ok(())
    }

    /// Each edit is sent at most twice, and each thing that goes wrong may cost another call. Read is once for each look
    /// at one customer, and twice for each at all of them, of whom there are fewer than fit a page.
    fn calls_are_bounded(&self) -> Held {
        let ledger = &self.ledger;
        let bound = 2 * ledger.edits + ledger.cuts + ledger.faults + 2 * ledger.late;
        if ledger.writes > bound {
            return Err(format!(
                "{} writes to Stripe for {} edits, {} cuts, {} faults and {} late requests: more than {bound}",
                ledger.writes, ledger.edits, ledger.cuts, ledger.faults, ledger.late
            ));
        }
        let bound = ledger.single + 2 * ledger.looks;
        if ledger.reads > bound {
            return Err(format!(
                "{} reads from Stripe for {} looks at one customer and {} at all: more than {bound}",
                ledger.reads, ledger.single, ledger.looks
            ));
        }
        Ok(())
    }

    async fn a_further_pass_does_nothing(&mut self) -> Held {
        let db = self.world.db.clone();
        let mut script = String::from("CREATE TABLE written (name TEXT);");
        for table in WATCHED {
            for event in ["INSERT", "UPDATE", "DELETE"] {
                script.push_str(&format!(
                    "CREATE TRIGGER written_{table}_{event} AFTER {event} ON {table} \
                     BEGIN INSERT INTO written VALUES ('{table}'); END;"
                ));
            }
        }
        db.execute_unprepared(&script).await.unwrap();
        let writes = self.ledger.writes;
        self.full_pass().await;
        self.drain().await?;
        let select = Statement::from_string(db.get_database_backend(), "SELECT name FROM written");
        let written: Vec<String> = db
            .query_all_raw(select)
            .await
            .unwrap()
            .iter()
            .map(|row| row.try_get("", "name").unwrap())
            .collect();
        let calls = self.ledger.writes - writes;
        if written.is_empty() && calls == 0 {
            return Ok(());
        }
        Err(format!(
            "a further pass writes {written:?} here and calls Stripe {calls} times"
        ))
    }
}
