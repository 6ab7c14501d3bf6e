//! The id of the first object in a list of which only the start is there.

use std::cell::RefCell;
use std::fmt;

use entity::stripe_object::is_id;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads until the id is there; the JSON may end anywhere behind it.
pub(super) fn read(start: &[u8]) -> Option<String> {
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(start);
    // It ends with an error, because the text ends early.
    let _ = Member("data", &Items(&found)).deserialize(&mut deserializer);
    found.into_inner().filter(|id: &String| is_id(id))
}

/// Reads one member of an object by a seed.
struct Member<'a, S>(&'static str, &'a S);

/// The first item of a list.
struct Items<'a>(&'a RefCell<Option<String>>);

/// A text, which is kept as soon as it is there.
struct Text<'a>(&'a RefCell<Option<String>>);

impl<'de, S> DeserializeSeed<'de> for Member<'_, S>
where
    for<'b> &'b S: DeserializeSeed<'de, Value = ()>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S> Visitor<'de> for Member<'_, S>
where
    for<'b> &'b S: DeserializeSeed<'de, Value = ()>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == self.0 {
                members.next_value_seed(self.1)?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        items.next_element_seed(Member("id", &Text(self.0)))?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        self.0.replace(Some(text));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_wherever_the_text_ends_behind_it() {
        let list = r#"{"object":"list","url":"/v1/customers","has_more":true,"data":[{"object":"customer","address":{"id":"x"},"id":"cus_1","email":"a@x.io"},{"id":"cus_2"}]}"#;
        let behind = list.find("cus_1").unwrap() + "cus_1\"".len();
        for end in [behind, behind + 3, behind + 25, list.len()] {
            assert_eq!(
                read(&list.as_bytes()[..end]).as_deref(),
                Some("cus_1"),
                "{end}"
            );
        }
        assert_eq!(read(&list.as_bytes()[..behind - 1]), None);
    }

    #[test]
    fn what_is_no_list_has_no_first_id() {
        for text in [
            "",
            "{",
            "null",
            r#"{"data":[]}"#,
            r#"{"data":[{"id":5}]}"#,
            r#"{"data":[{"id":".."}]}"#,
            r#"{"data":{"id":"cus_1"}}"#,
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
