//! Compares what was acknowledged with what both sides hold at the end. An operation whose outcome nobody
//! knows may have happened or not; everything else has to be explained.

use std::collections::HashMap;

use entity::fields::Field;
use uuid::Uuid;

use crate::evidence::{Event, Evidence, Happened, Restore, Row};
use crate::history::{Actor, Kind, Op, Outcome, State};

mod calls;
mod identity;
mod order;
pub(crate) mod report;
mod restored;
mod value;

#[cfg(test)]
mod tests;

/// What must not be; a sentence for each case.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// Acknowledged, and neither there nor replaced by something newer nor in a conflict.
    pub(crate) lost: Vec<String>,
    /// An older value stands over a newer one that was acknowledged.
    pub(crate) undone: Vec<String>,
    /// Two customers in Stripe, or two rows, where one was asked for; or done although it was refused.
    pub(crate) doubled: Vec<String>,
    /// Deleted, which was acknowledged, and there again.
    pub(crate) revived: Vec<String>,
    /// A consumer met a rev before an earlier one of its customer, or never.
    pub(crate) out_of_order: Vec<String>,
    /// Requests that wrote to Stripe again what it had acknowledged to somebody who could note that.
    pub(crate) duplicate_calls: Vec<String>,
}

impl Findings {
    pub(crate) fn all(&self) -> [(&'static str, &[String]); 6] {
        [
            ("lost", &self.lost),
            ("undone", &self.undone),
            ("doubled", &self.doubled),
            ("revived", &self.revived),
            ("out of order", &self.out_of_order),
            ("unexplained duplicate calls", &self.duplicate_calls),
        ]
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.all().iter().all(|(_, cases)| cases.is_empty())
    }
}

/// Judges everything.
pub(crate) fn check(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    let evidence = &*restored::excused(evidence);
    let cases = Cases::new(evidence);
    let orphans = restored::orphans(evidence);
    for case in &cases.customers {
        value::check(case, &mut findings);
        identity::check(case, &orphans, &mut findings);
        order::check(case, &mut findings);
    }
    identity::check_strangers(evidence, (&cases, &orphans), &mut findings);
    calls::check(evidence, &mut findings);
    findings
}

/// All that is known of the customers that something was found of, for whoever looks for the cause.
pub(crate) fn stories(evidence: &Evidence, findings: &Findings) -> String {
    let cases = Cases::new(evidence);
    let sentences = findings.all().map(|(_, sentences)| sentences).concat();
    let mut text = String::new();
    for Restore {
        dumped, restored, ..
    } in &evidence.restores
    {
        text.push_str(&format!("dumped at {dumped}, restored at {restored}\n\n"));
    }
    for case in &cases.customers {
        let id = case.id.to_string();
        for sentence in sentences.iter().filter(|text| text.starts_with(&id)) {
            text.push_str(&format!("{sentence}\n"));
        }
        if sentences.iter().any(|text| text.starts_with(&id)) {
            text.push_str(&case.story(evidence));
        }
    }
    text
}

/// Everything that is known of one customer.
struct Case<'a> {
    id: Uuid,
    row: Option<&'a Row>,
    /// By clients and by people, in the order of their beginning.
    ops: Vec<&'a Op>,
    /// The changes of applications that the consumer received of it, in that order.
    told: Vec<&'a State>,
    /// The revs that it received, in that order.
    heard: Vec<i64>,
    /// The rows of it that were restored, in the order of the restores.
    restored: Vec<Option<&'a State>>,
    /// What was received and what was restored, each rev once and in the order of the revs.
    revs: Vec<&'a State>,
    /// What happened in Stripe to the customers that it is linked to or that name it.
    events: Vec<&'a Event>,
    conflicts: Vec<(&'a str, Option<&'a str>)>,
    restores: &'a [Restore],
}

struct Cases<'a> {
    customers: Vec<Case<'a>>,
    /// What could be assigned to no customer.
    strangers: Vec<&'a Op>,
}

impl<'a> Case<'a> {
    fn new(id: Uuid, restores: &'a [Restore]) -> Self {
        Self {
            id,
            row: None,
            ops: Vec::new(),
            told: Vec::new(),
            heard: Vec::new(),
            restored: vec![None; restores.len()],
            revs: Vec::new(),
            events: Vec::new(),
            conflicts: Vec::new(),
            restores,
        }
    }

    fn story(&self, evidence: &Evidence) -> String {
        let mut text = format!("row: {:?}\nconflicts: {:?}\n", self.row, self.conflicts);
        let lines = |items: Vec<String>| items.join("\n");
        let ops = self.ops.iter().map(|op| format!("op: {op:?}")).collect();
        let told = self
            .told
            .iter()
            .map(|told| format!("told: {told:?}"))
            .collect();
        let events = self
            .events
            .iter()
            .map(|it| format!("event: {it:?}"))
            .collect();
        let stripe_id = self.row.and_then(|row| row.stripe_id.as_deref());
        let requests = evidence
            .requests
            .iter()
            .filter(|request| stripe_id.is_some_and(|id| format!("{request:?}").contains(id)));
        let requests = requests.map(|it| format!("request: {it:?}")).collect();
        for part in [lines(ops), lines(told), lines(events), lines(requests)] {
            text.push_str(&part);
            text.push('\n');
        }
        text.push('\n');
        text
    }

    fn sort(&mut self) {
        self.ops.sort_by_key(|op| op.start);
        self.revs = self.restored.iter().flatten().copied().collect();
        self.revs.extend(&self.told);
        self.revs.sort_by_key(|state| state.rev);
        self.revs.dedup_by_key(|state| state.rev);
    }

    /// The row, if it is not deleted.
    fn living(&self) -> Option<&'a Row> {
        self.row.filter(|row| !row.state.deleted)
    }

    fn by(&self, actor: Actor) -> impl Iterator<Item = &'a Op> {
        self.ops.iter().copied().filter(move |op| op.actor == actor)
    }
}

impl<'a> Cases<'a> {
    fn new(evidence: &'a Evidence) -> Self {
        let mut cases: HashMap<Uuid, Case<'a>> = HashMap::new();
        let case = |cases: &mut HashMap<Uuid, Case<'a>>, id| {
            let new = || Case::new(id, &evidence.restores);
            cases.entry(id).or_insert_with(new).id
        };
        let mut of_stripe_id: HashMap<&str, Uuid> = HashMap::new();
        for row in &evidence.rows {
            let id = case(&mut cases, row.state.id);
            cases.entry(id).and_modify(|case| case.row = Some(row));
            if let Some(stripe_id) = &row.stripe_id {
                of_stripe_id.insert(stripe_id, id);
            }
        }
        for (place, restore) in evidence.restores.iter().enumerate() {
            for state in &restore.rows {
                let id = case(&mut cases, state.id);
                let put = |case: &mut Case<'a>| case.restored[place] = Some(state);
                cases.entry(id).and_modify(put);
            }
        }
        for state in &evidence.told {
            let id = case(&mut cases, state.id);
            cases.entry(id).and_modify(|case| case.told.push(state));
        }
        for (id, rev) in &evidence.heard {
            let id = case(&mut cases, *id);
            cases.entry(id).and_modify(|case| case.heard.push(*rev));
        }
        for event in &evidence.events {
            let linked = of_stripe_id.get(&*event.copy.stripe_id).copied();
            // Its metadata names the row that it was made for, linked or not.
            for id in [linked, event.copy.customer.filter(|id| linked != Some(*id))] {
                let known = id.and_then(|id| cases.get_mut(&id));
                if let Some(case) = known {
                    case.events.push(event);
                }
            }
        }
        let heirs = restored::heirs(evidence, &of_stripe_id);
        let with_heir = |id: Uuid| [Some(id), heirs.get(&id).copied()].into_iter().flatten();
        for conflict in &evidence.conflicts {
            let value = (&*conflict.field, conflict.stripe_value.as_deref());
            for id in with_heir(conflict.customer) {
                if let Some(case) = cases.get_mut(&id) {
                    case.conflicts.push(value);
                }
            }
        }
        let owners = Owners::new(evidence, of_stripe_id);
        let mut strangers = Vec::new();
        for op in &evidence.ops {
            match owners.of(op) {
                Some(id) => {
                    for id in with_heir(id) {
                        let id = case(&mut cases, id);
                        cases.entry(id).and_modify(|case| case.ops.push(op));
                    }
                }
                None => strangers.push(op),
            }
        }
        let mut customers: Vec<_> = cases.into_values().collect();
        customers.sort_by_key(|case| case.id);
        customers.iter_mut().for_each(Case::sort);
        Self {
            customers,
            strangers,
        }
    }
}

/// Whom an operation was about, where it does not say.
struct Owners<'a> {
    of_stripe_id: HashMap<&'a str, Uuid>,
    /// Values are written once only, so a value tells its operation.
    of_value: HashMap<(Field, &'a str), Uuid>,
    made: HashMap<&'a str, &'a str>,
}

impl<'a> Owners<'a> {
    fn new(evidence: &'a Evidence, of_stripe_id: HashMap<&'a str, Uuid>) -> Self {
        let mut of_value = HashMap::new();
        for state in &evidence.told {
            for field in Field::ALL {
                if let Some(value) = state.fields.get(field) {
                    // The first one that had it: addresses change hands.
                    of_value.entry((field, value)).or_insert(state.id);
                }
            }
        }
        // By people: a row that took over an address may be created with it, too.
        let created = evidence
            .events
            .iter()
            .filter(|event| event.happened == Happened::Created && event.request.is_none());
        let made = created.filter_map(|event| {
            let email = event.copy.fields.email.as_deref()?;
            Some((email, &*event.copy.stripe_id))
        });
        Self {
            of_stripe_id,
            of_value,
            made: made.collect(),
        }
    }

    fn of(&self, op: &Op) -> Option<Uuid> {
        match (op.actor, op.kind) {
            (Actor::Person, Kind::Create) => {
                let made = self.made.get(op.sent(Field::Email)?)?;
                self.of_stripe_id.get(made).copied()
            }
            (Actor::Person, _) => {
                let stripe_id = op.stripe_id.as_deref()?;
                self.of_stripe_id.get(stripe_id).copied()
            }
            // The address may have another owner by the time that the request is handled.
            (Actor::Client, _) if op.outcome == Outcome::Unknown && op.kind != Kind::Delete => {
                let found = op.sent.iter().find_map(|(field, value)| {
                    let is_unique = *field != Field::Email || op.kind == Kind::Create;
                    let owner = self.of_value.get(&(*field, value.as_str()));
                    owner.copied().filter(|_| is_unique)
                });
                found.or(op.customer)
            }
            (Actor::Client, _) => op.customer,
        }
    }
}
