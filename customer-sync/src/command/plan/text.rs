//! A plan for people: a block for each customer, and counts.

use std::fmt::Write;

use entity::fields::{Field, Fields};
use sync_worker::preview::{Change, Item, Side, Step};

use super::Document;

/// The whole text. Every value is quoted with its control characters escaped.
pub(super) fn of(plan: &Document) -> String {
    let mut text = String::new();
    for item in &plan.items {
        text.push_str(&block(item));
        text.push('\n');
    }
    text.push_str(&footer(plan));
    text
}

fn block(item: &Item) -> String {
    let mut head: Vec<String> = Vec::new();
    head.extend(item.email.as_ref().map(|email| format!("{email:?}")));
    head.extend(item.customer_id.map(|id| id.to_string()));
    head.extend(item.stripe_id.clone());
    let mut text = format!("{}\n", head.join("  "));
    for step in &item.steps {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {}", line(step));
    }
    text
}

fn line(step: &Step) -> String {
    match step {
        Step::Create { on, fields } => format!("+ create {}: {}", place(*on), values(fields)),
        Step::Update { on, changes: all } => format!("~ update {}: {}", place(*on), changes(all)),
        Step::Rename { on, changes: all } => format!("~ rename {}: {}", place(*on), changes(all)),
        Step::Delete { on } => format!("- delete {}", place(*on)),
        Step::Detach { on: Side::Database } => {
            "- detach: it is gone from Stripe; the customer is kept here, and the link is cut"
                .to_owned()
        }
        Step::Detach { on: Side::Stripe } => {
            "- detach: it is gone here; the customer is kept in Stripe, and the link is cut"
                .to_owned()
        }
        Step::Link => "= link the two".to_owned(),
        Step::Mark => "= mark in Stripe: our id, and no other value".to_owned(),
        Step::Settle => "= both sides agree; note it".to_owned(),
        Step::Conflict {
            field,
            base,
            database,
            stripe,
            winner,
        } => {
            let winner = match winner {
                Some(Side::Database) => "the database wins",
                Some(Side::Stripe) => "Stripe wins",
                None => "a person decides",
            };
            format!(
                "! conflict {field}: {} was changed to {} here and to {} in Stripe; {winner}",
                value(base.as_deref()),
                value(database.as_deref()),
                value(stripe.as_deref())
            )
        }
        Step::Refuse { reason, next_step } => format!("x refuse {reason}: {next_step}"),
        Step::Wait => ". wait: a push is under way, or in doubt".to_owned(),
    }
}

fn place(side: Side) -> &'static str {
    match side {
        Side::Database => "here",
        Side::Stripe => "in Stripe",
    }
}

fn values(fields: &Fields) -> String {
    let given = Field::ALL.into_iter().filter_map(|field| {
        let text = fields.get(field)?;
        Some(format!("{field} {text:?}"))
    });
    given.collect::<Vec<_>>().join(", ")
}

fn changes(all: &[Change]) -> String {
    let each = all.iter().map(|change| {
        let (from, to) = (value(change.from.as_deref()), value(change.to.as_deref()));
        format!("{} {from} -> {to}", change.field)
    });
    each.collect::<Vec<_>>().join(", ")
}

fn value(text: Option<&str>) -> String {
    text.map_or_else(|| "none".to_owned(), |text| format!("{text:?}"))
}

fn footer(plan: &Document) -> String {
    if plan.items.is_empty() {
        return format!(
            "Nothing to do: {} customers in Stripe, and both sides are in step.\n",
            plan.listed
        );
    }
    let steps = || plan.items.iter().flat_map(|item| &item.steps);
    let count = |is: fn(&Step) -> bool| steps().filter(|step| is(step)).count();
    let counts = [
        (count(|s| matches!(s, Step::Create { .. })), "to create"),
        (count(|s| matches!(s, Step::Update { .. })), "to update"),
        (count(|s| matches!(s, Step::Rename { .. })), "to rename"),
        (count(|s| matches!(s, Step::Delete { .. })), "to delete"),
        (count(|s| matches!(s, Step::Detach { .. })), "to detach"),
        (count(|s| matches!(s, Step::Link)), "to link"),
        (count(|s| matches!(s, Step::Mark | Step::Settle)), "to note"),
        (count(|s| matches!(s, Step::Conflict { .. })), "in conflict"),
        (count(|s| matches!(s, Step::Refuse { .. })), "refused"),
        (count(|s| matches!(s, Step::Wait)), "to wait for"),
    ];
    let shown = counts.iter().filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    format!(
        "{} of the customers differ ({} are in Stripe): {}.\n",
        plan.items.len(),
        plan.listed,
        shown.join(", ")
    )
}
