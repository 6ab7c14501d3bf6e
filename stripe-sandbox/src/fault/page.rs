//! Lists that lie: what faults make of an honest page.

use serde_json::{Value, json};

use super::kind::Kind;
use crate::api::answer::Answer;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Spoil {
    Empty,
    Lost,
    Duplicate,
    Shuffled,
    Broken,
    Unknown,
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
            _ => return None,
        })
    }

    /// Spoils the answer when it is a page; `dice` chooses the item.
    pub(crate) fn apply(self, answer: &mut Answer, dice: u64) {
        let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else {
            return;
        };
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
            Self::Lost | Self::Duplicate | Self::Broken => {}
        }
        answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
    }
}
