//! What an update of ours replaced, as its event reports it in `data.previous_attributes`
//! (<https://docs.stripe.com/api/events/object>).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{REDACTED, rev_of};
use crate::fields::{Field, canonical};
use crate::stamp::Stamp;

/// A field as it was before an update of ours changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub value: Option<String>,
    /// That of our last update before.
    pub stamp: Option<Stamp>,
}

/// The fields that an update of ours changed, as they were before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced(BTreeMap<Field, Before>);

impl Replaced {
    /// In the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &Before)> {
        self.0.iter().map(|(field, before)| (*field, before))
    }
}

/// Reads an event's `data`. Only updates of ours change stamps, so a field whose stamp did not change was changed by
/// somebody else. None if no update of ours changed a field.
pub fn replaced(data: &Value) -> Option<Replaced> {
    let previous = data.get("previous_attributes")?.as_object()?;
    let fields = Field::ALL.into_iter();
    let before = fields.filter_map(|field| Some((field, before(previous, field)?)));
    let replaced = Replaced(before.collect());
    (!replaced.0.is_empty()).then_some(replaced)
}

fn before(previous: &Map<String, Value>, field: Field) -> Option<Before> {
    let value = match previous.get(field.as_str())? {
        Value::Null => None,
        // Nobody has edited it, and it can be restored by nobody.
        Value::String(text) if text == REDACTED => return None,
        Value::String(text) => canonical(text),
        _ => return None,
    };
    let stamp = match previous.get("metadata")? {
        // There was no metadata at all.
        Value::Null => None,
        metadata => metadata.get(rev_of(field))?.as_str(),
    };
    Some(Before {
        value,
        stamp: stamp.and_then(|text| text.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STAMP: &str = "3-1a2b3c4d-0123456789abcdef";

    fn read(previous: &Value) -> Vec<(Field, Option<String>, Option<String>)> {
        let replaced = replaced(&json!({"previous_attributes": previous}));
        let text = |before: &Before| before.stamp.as_ref().map(ToString::to_string);
        replaced
            .unwrap_or_default()
            .iter()
            .map(|(field, before)| (field, before.value.clone(), text(before)))
            .collect()
    }

    #[test]
    fn own_update_reports_values_and_stamps_before_it() {
        let previous = json!({
            "name": " theirs ", "phone": null, "balance": 5,
            "metadata": {
                "customer_sync_rev_name": STAMP, "customer_sync_rev_phone": null, "vip": "no",
            },
        });
        let name = (
            Field::Name,
            Some("theirs".to_owned()),
            Some(STAMP.to_owned()),
        );
        assert_eq!(read(&previous), [name, (Field::Phone, None, None)]);
        let first = json!({"name": "theirs", "metadata": null});
        assert_eq!(
            read(&first),
            [(Field::Name, Some("theirs".to_owned()), None)]
        );
    }

    #[test]
    fn edit_by_somebody_else_replaces_nothing() {
        for previous in [
            json!({}),
            json!({"name": "theirs"}),
            json!({"name": "theirs", "metadata": {"vip": "no"}}),
            json!({"name": "theirs", "metadata": {"customer_sync_rev_phone": STAMP}}),
            json!({"metadata": {"customer_sync_rev_name": STAMP}}),
            json!({"name": 5, "metadata": {"customer_sync_rev_name": STAMP}}),
            json!({"name": "[redacted]", "metadata": {"customer_sync_rev_name": STAMP}}),
            Value::Null,
        ] {
            assert_eq!(read(&previous), [], "{previous}");
        }
    }
}
