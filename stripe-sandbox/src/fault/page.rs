//! Answers that lie: what faults make of an honest page, or of an object.

use serde_json::{Value, json};

use super::kind::{Kind, Shows};
use crate::api::answer::Answer;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoil {
    Empty,
    Lost,
    Duplicate,
    Shuffled,
    Broken,
    Unknown,
    Mismatched(Shows),
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
            _ => return None,
        })
    }

    /// Spoils the answer when it is a page; `dice` chooses the item.
    pub(crate) fn apply(self, answer: &mut Answer, dice: u64) {
        let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
        if let Self::Mismatched(shows) = self {
            if answer.status == 200 {
                mismatch(&mut body, shows);
                answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
            }
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
            Self::Lost | Self::Duplicate | Self::Broken | Self::Mismatched(_) => {}
        }
        answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
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
