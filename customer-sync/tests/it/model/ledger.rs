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
    /// What that side held before.
    pub(super) replaced: Option<String>,
    /// It need not hold: it took the field back to what both sides had agreed on, or had not, before they met. That is no
    /// change, and the other side's is taken.
    pub(super) is_excused: bool,
}

impl Edit {
    /// From one value to another. `agreed` is what both sides last agreed on, if they have met.
    pub(super) fn new(
        moment: usize,
        (replaced, value): (Option<&str>, Option<&str>),
        agreed: Option<Option<&str>>,
    ) -> Self {
        Self {
            moment,
            value: value.map(str::to_owned),
            replaced: replaced.map(str::to_owned),
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
    /// The deleted Stripe customers that a row was linked to: another one may have taken their place.
    pub(super) former: HashMap<Uuid, Vec<String>>,
    /// The unlinked Stripe customers that shared the e-mail of a linked row when it was deleted here, and when that was.
    pub(super) beside_deleted: HashMap<String, usize>,
    /// Stripe's customers as they were last looked at.
    shown: HashMap<String, Fields>,
    last_request: u64,
    /// What people did, and what went wrong.
    pub(super) edits: usize,
    pub(super) cuts: usize,
    pub(super) faults: usize,
    pub(super) late: usize,
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

    /// What people gave a field of the deleted Stripe customers that a row was linked to, or may have been: they had its
    /// e-mail.
    pub(super) fn former_edits(&self, row: &customer::Model, field: Field) -> Vec<Edit> {
        let linked = self.former.get(&row.id).into_iter().flatten();
        let alike = self.deleted_there.iter().filter(|id| {
            let email = self.shown.get(*id).and_then(|shown| shown.email.as_deref());
            email.is_some_and(|email| email.eq_ignore_ascii_case(&row.email))
        });
        linked
            .chain(alike)
            .filter_map(|id| self.theirs.get(&(id.clone(), field)))
            .flatten()
            .cloned()
            .collect()
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
        let before = before.unwrap_or_default();
        for field in before.differing(&after) {
            let agreed = link
                .and_then(|link| link.base.as_ref())
                .map(|base| base.get(field));
            let values = (before.get(field), after.get(field));
            self.edited_there(stripe_id, field, Edit::new(moment, values, agreed));
        }
        self.shown.insert(stripe_id.to_owned(), after);
    }

    /// Notes what a request of ours made of it.
    pub(super) fn shown_by_request(&mut self, customer: &Value) {
        let stripe_id = customer["id"].as_str().unwrap().to_owned();
        self.shown.insert(stripe_id, field_values(customer));
    }
}

impl Model {
    /// Looks at the requests that were made since the last time.
    pub(super) fn notice(&mut self) {
        let sandbox = &self.world.sandbox.sandbox;
        for request in sandbox.requests_since(self.ledger.last_request) {
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
            if let Some(customer) = named
                .or(request.customer)
                .and_then(|stripe_id| sandbox.customer(&stripe_id))
            {
                self.ledger.shown_by_request(&customer);
            }
        }
    }

    pub(super) async fn link_of(&self, stripe_id: &str) -> Option<stripe_link::Model> {
        stripe_link::find_by_stripe_id(&self.world.db, stripe_id)
            .await
            .unwrap()
    }
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
