//! Answers that lie: what faults make of an honest page, or of an object.

use serde_json::{Value, json};

use super::kind::{Kind, Shows};
use crate::api::answer::Answer;

#[derive(Clone, Debug)]
pub(crate) enum Spoil {
    Empty,
    Lost,
    Duplicate,
    Shuffled,
    Broken,
    Unknown,
    Mismatched(Shows),
    Unreadable(String),
    Redacted(String),
    Large(usize, Option<String>),
    Dated(i64),
}

impl Spoil {
    pub(crate) fn of(kind: &Kind) -> Option<Self> {
        Some(match kind {
            Kind::EmptyPage => Self::Empty,
            Kind::LostItem => Self::Lost,
            Kind::DuplicateItem => Self::Duplicate,
            Kind::ShuffledPage => Self::Shuffled,
            Kind::BrokenItem => Self::Broken,
            Kind::UnknownFields => Self::Unknown,
            Kind::MismatchedResponse { shows } => Self::Mismatched(*shows),
            Kind::UnreadableCustomer { id } => Self::Unreadable(id.clone()),
            Kind::RedactedCustomer { id } => Self::Redacted(id.clone()),
            Kind::LargeItems { bytes, id } => Self::Large(*bytes, id.clone()),
            Kind::EventDated { created } => Self::Dated(*created),
            _ => return None,
        })
    }

    pub(crate) fn shows_other_mode(&self) -> bool {
        matches!(self, Self::Mismatched(Shows::OtherMode))
    }

    /// Spoils the answer when it is a page; `dice` chooses the item.
    pub(crate) fn apply(&self, answer: &mut Answer, dice: u64) {
        let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
        if answer.status == 200 && self.change(&mut body) {
            answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
            return;
        }
        let Some(items) = body.get_mut("data").and_then(Value::as_array_mut) else {
            return;
        };
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let chosen =
            usize::try_from(dice.checked_rem(count).unwrap_or_default()).unwrap_or_default();
        match self {
            Self::Empty => {
                items.clear();
                body["has_more"] = true.into();
            }
            Self::Lost if !items.is_empty() => drop(items.remove(chosen)),
            Self::Duplicate if !items.is_empty() => {
                let twin = items[chosen].clone();
                items.insert(chosen, twin);
            }
            // Turning it round is out of order for every page of two or more, which chance is not.
            Self::Shuffled => items.reverse(),
            Self::Broken if !items.is_empty() => items[chosen]["created"] = "yesterday".into(),
            Self::Unknown => {
                for item in items {
                    item["unheard_of"] = json!({ "nested": [1, "two", null] });
                    item["tax_exempt"] = "unheard_of".into();
                }
            }
            _ => {}
        }
        answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
    }
}

impl Spoil {
    /// Changes what is shown, in a list or by itself; false if this spoils pages only.
    fn change(&self, body: &mut Value) -> bool {
        match self {
            Self::Mismatched(shows) => mismatch(body, *shows),
            Self::Unreadable(id) => each(body, Some(id.as_str()), |customer| {
                customer["phone"] = 5.into();
            }),
            Self::Redacted(id) => each(body, Some(id.as_str()), redact),
            Self::Large(bytes, id) => each(body, id.as_deref(), |object| {
                object["unheard_of"] = "x".repeat(*bytes).into();
            }),
            Self::Dated(created) => {
                if let Some(newest) = body["data"].get_mut(0) {
                    newest["created"] = (*created).into();
                }
            }
            _ => return false,
        }
        true
    }
}

/// Changes every object of a list, or the answer's one, and what events show; if an id is given, only those of it.
fn each(body: &mut Value, id: Option<&str>, change: impl Fn(&mut Value)) {
    let is_list = body["object"] == "list";
    let objects: Vec<&mut Value> = match body.get_mut("data").and_then(Value::as_array_mut) {
        Some(items) if is_list => items.iter_mut().collect(),
        _ => vec![body],
    };
    for object in objects {
        let object = match object["object"] == "event" && id.is_some() {
            true => &mut object["data"]["object"],
            false => object,
        };
        if id.is_none_or(|id| object["id"] == id) {
            change(object);
        }
    }
}

fn redact(customer: &mut Value) {
    for name in ["email", "name", "phone", "description"] {
        if customer[name].is_string() {
            customer[name] = "[redacted]".into();
        }
    }
}

/// Makes the answer one to another request.
fn mismatch(body: &mut Value, shows: Shows) {
    let is_list = body["object"] == "list";
    let objects: Vec<&mut Value> = match body.get_mut("data").and_then(Value::as_array_mut) {
        Some(items) if is_list => items.iter_mut().collect(),
        _ => vec![body],
    };
    for object in objects {
        match shows {
            Shows::OtherObject if is_list => {
                *object = json!({ "id": "sub_1AnotherRequest0", "object": "subscription" });
            }
            Shows::OtherObject => {
                object["id"] = "cus_AnotherRequest".into();
                object["email"] = "another.request@example.com".into();
                object["metadata"] = json!({});
            }
            Shows::OtherMode => {
                let livemode = object["livemode"] == true;
                object["livemode"] = (!livemode).into();
            }
            Shows::Nothing => *object = json!({}),
        }
    }
}
