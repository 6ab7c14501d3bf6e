//! What people did, and what was seen on the way: the account that the end is checked against.

use std::collections::{HashMap, HashSet};

use entity::fields::{Field, Fields};
use entity::{customer, stripe_link};
use serde_json::Value;
use uuid::Uuid;

use super::Model;

/// What one side gave a field, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) moment: usize,
    pub(super) value: Option<String>,
    /// It need not hold. Either a request of ours replaced it in Stripe before anybody here could know of it,
    /// because Stripe can't be asked to write only if nobody else has. Or it took the field back to what both
    /// sides had agreed on, or had not, before they met: that is no change, and the other side's is taken.
    pub(super) is_excused: bool,
}

impl Edit {
    /// `agreed` is what both sides last agreed on, if they have met.
    pub(super) fn new(moment: usize, value: Option<&str>, agreed: Option<Option<&str>>) -> Self {
        Self {
            moment,
            value: value.map(str::to_owned),
            is_excused: value == agreed.unwrap_or_default(),
        }
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) ours: HashMap<(Uuid, Field), Vec<Edit>>,
    pub(super) theirs: HashMap<(String, Field), Vec<Edit>>,
    pub(super) deleted_here: HashSet<Uuid>,
    pub(super) deleted_there: HashSet<String>,
    /// Stripe's customers as they were last looked at.
    shown: HashMap<String, Fields>,
    last_request: u64,
    /// What people did, and what went wrong.
    pub(super) edits: usize,
    pub(super) cuts: usize,
    pub(super) faults: usize,
    pub(super) late: usize,
    pub(super) excused: usize,
    pub(super) writes: usize,
    pub(super) reads: usize,
    /// Pushes and applied drifts that began, and looks at everybody.
    pub(super) single: usize,
    pub(super) looks: usize,
}

impl Ledger {
    pub(super) fn edited_here(&mut self, row: Uuid, field: Field, edit: Edit) {
        self.ours.entry((row, field)).or_default().push(edit);
    }

    fn edited_there(&mut self, stripe_id: &str, field: Field, edit: Edit) {
        let key = (stripe_id.to_owned(), field);
        self.theirs.entry(key).or_default().push(edit);
    }

    /// Notes what a person made of a customer in Stripe.
    pub(super) fn shown_by_person(
        &mut self,
        customer: &Value,
        moment: usize,
        link: Option<&stripe_link::Model>,
    ) {
        let stripe_id = customer["id"].as_str().unwrap();
        let (before, after) = (self.shown.get(stripe_id).cloned(), field_values(customer));
        for field in before.unwrap_or_default().differing(&after) {
            let agreed = link
                .and_then(|link| link.base.as_ref())
                .map(|base| base.get(field));
            self.edited_there(
                stripe_id,
                field,
                Edit::new(moment, after.get(field), agreed),
            );
        }
        self.shown.insert(stripe_id.to_owned(), after);
    }
}

impl Model {
    /// Looks at the requests that were made since the last time.
    pub(super) async fn notice(&mut self, looked: Option<usize>) {
        let requests = self
            .world
            .sandbox
            .sandbox
            .requests_since(self.ledger.last_request);
        for request in requests {
            self.ledger.last_request = request.seq;
            if request.method == "GET" {
                self.ledger.reads += 1;
                continue;
            }
            self.ledger.writes += 1;
            let named = request
                .path
                .strip_prefix("/v1/customers/")
                .map(str::to_owned);
            if let Some(stripe_id) = named.or(request.customer) {
                self.compare(&stripe_id, looked).await;
            }
        }
    }

    /// What people had given a customer and our request replaced.
    pub(super) async fn compare(&mut self, stripe_id: &str, looked: Option<usize>) {
        let Some(customer) = self.world.sandbox.sandbox.customer(stripe_id) else {
            return;
        };
        let after = field_values(&customer);
        let before = self
            .ledger
            .shown
            .insert(stripe_id.to_owned(), after.clone());
        let Some(before) = before.filter(|_| customer["deleted"] != true) else {
            return;
        };
        let link = self.link_of(stripe_id).await;
        let row = self.row_of(stripe_id).await;
        for field in before.differing(&after) {
            let is_ours_too = is_changed_here(&self.ledger, row.as_ref(), link.as_ref(), field);
            let replaced = before.get(field).map(str::to_owned);
            let is_known = row
                .as_ref()
                .is_some_and(|row| row.fields().get(field) == replaced.as_deref());
            let edits = self
                .ledger
                .theirs
                .entry((stripe_id.to_owned(), field))
                .or_default();
            if let Some(last) = edits.last_mut()
                && last.value == replaced
                && !is_known
                && is_ours_too
                && looked.is_none_or(|looked| looked < last.moment)
            {
                last.is_excused = true;
                self.ledger.excused += 1;
            }
        }
    }

    pub(super) async fn link_of(&self, stripe_id: &str) -> Option<stripe_link::Model> {
        stripe_link::find_by_stripe_id(&self.world.db, stripe_id)
            .await
            .unwrap()
    }

    async fn row_of(&self, stripe_id: &str) -> Option<customer::Model> {
        let link = self.link_of(stripe_id).await?;
        customer::find(&self.world.db, link.customer_id)
            .await
            .unwrap()
    }
}

/// Whether anybody here has changed the field: only then may a request of ours replace what is in Stripe.
fn is_changed_here(
    ledger: &Ledger,
    row: Option<&customer::Model>,
    link: Option<&stripe_link::Model>,
    field: Field,
) -> bool {
    let (Some(row), Some(link)) = (row, link) else {
        return true;
    };
    let differs = row.fields().get(field) != link.base_or_empty().get(field);
    differs || ledger.ours.contains_key(&(row.id, field))
}

/// The kept fields of a customer as Stripe shows it.
pub(super) fn field_values(customer: &Value) -> Fields {
    let mut fields = Fields::default();
    for field in Field::ALL {
        let value = customer[field.as_str()].as_str();
        fields.set(field, value.map(str::to_owned));
    }
    fields.canonical()
}
