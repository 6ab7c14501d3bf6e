//! What a write of ours leaves in Stripe's metadata, a stamp for each field that it sent. It tells a late
//! write of ours from a person's edit, field by field.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::fields::{Field, Fields};

/// The mark of one write on one field: which revision it sent, by which request, and what.
///
/// The request counts, because the same revision may be sent again under another key while the first attempt is
/// still on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stamp {
    pub rev: i64,
    request: u32,
    digest: u64,
}

impl Stamp {
    /// The stamp of a request that sends this field of these values.
    pub fn of((rev, request_key): (i64, Uuid), field: Field, values: &Fields) -> Self {
        Self {
            rev,
            request: request_key.as_fields().0,
            digest: digest(field, values),
        }
    }

    /// Whether the field still holds what was sent.
    pub fn fits(&self, field: Field, values: &Fields) -> bool {
        self.digest == digest(field, values)
    }
}

/// The start of a SHA-256 that tells the value of a field from any other, and from none.
fn digest(field: Field, values: &Fields) -> u64 {
    let mut hash = Sha256::new();
    hash.update(field.as_str().as_bytes());
    match values.get(field) {
        Some(text) => {
            hash.update([1]);
            hash.update(text.as_bytes());
        }
        None => hash.update([0]),
    }
    let hash = hash.finalize();
    u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

/// `7-1a2b3c4d-0123456789abcdef`: rev, request, digest.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}-{:016x}", self.rev, self.request, self.digest)
    }
}

/// The text is no stamp of ours; somebody else wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no stamp of a write")]
pub struct NoStamp;

impl FromStr for Stamp {
    type Err = NoStamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(NoStamp);
        let (rev, request, digest) = (next()?, next()?, next()?);
        if request.len() != 8 || digest.len() != 16 {
            return Err(NoStamp);
        }
        Ok(Self {
            rev: rev.parse().map_err(|_| NoStamp)?,
            request: u32::from_str_radix(request, 16).map_err(|_| NoStamp)?,
            digest: u64::from_str_radix(digest, 16).map_err(|_| NoStamp)?,
        })
    }
}

impl TryFrom<String> for Stamp {
    type Error = NoStamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Stamp> for String {
    fn from(stamp: Stamp) -> Self {
        stamp.to_string()
    }
}

/// The stamps of a customer, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Stamps(BTreeMap<Field, Stamp>);

impl Stamps {
    /// Those of a request that sends these fields of these values.
    pub fn of(by: (i64, Uuid), values: &Fields, sent: &[Field]) -> Self {
        let stamp = |field: &Field| (*field, Stamp::of(by, *field, values));
        Self(sent.iter().map(stamp).collect())
    }

    pub fn get(&self, field: Field) -> Option<&Stamp> {
        self.0.get(&field)
    }

    pub fn set(&mut self, field: Field, stamp: Stamp) {
        self.0.insert(field, stamp);
    }

    /// Adds those of a later write.
    pub fn put(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// In the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (Field, &Stamp)> {
        self.0.iter().map(|(field, stamp)| (*field, stamp))
    }

    /// The latest revision among them.
    pub fn rev(&self) -> Option<i64> {
        self.0.values().map(|stamp| stamp.rev).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Uuid = Uuid::from_u128(0x1a2b_3c4d << 96);

    fn named(name: Option<&str>) -> Fields {
        Fields {
            name: name.map(str::to_owned),
            ..Fields::default()
        }
    }

    #[test]
    fn a_stamp_survives_its_text_and_no_other_text_is_one() {
        let stamp = Stamp::of((7, KEY), Field::Name, &named(Some("b")));
        assert!(stamp.to_string().starts_with("7-1a2b3c4d-"), "{stamp}");
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        for text in [
            "",
            "7",
            "7-",
            "7-1a2b3c4d-",
            "x-1a2b3c4d-0123456789abcdef",
            "7-1a2b3c4d-0123456789abcdeg",
            "7-1a2b3c4-0123456789abcdef",
            "7-en-0123456789abcdef",
        ] {
            assert_eq!(text.parse::<Stamp>(), Err(NoStamp), "{text:?}");
        }
    }

    #[test]
    fn one_request_is_told_from_another_of_the_same_rev() {
        let of = |key| Stamp::of((7, key), Field::Name, &named(Some("b")));
        assert_ne!(of(KEY), of(Uuid::nil()));
    }

    #[test]
    fn a_later_write_replaces_the_stamps_of_what_it_sends() {
        let values = named(Some("b"));
        let mut stamps = Stamps::of((1, KEY), &values, &Field::ALL);
        stamps.put(Stamps::of((2, KEY), &values, &[Field::Name]));
        let revs: Vec<_> = stamps.iter().map(|(_, stamp)| stamp.rev).collect();
        assert_eq!((revs, stamps.rev()), (vec![1, 2, 1, 1], Some(2)));
        let json = serde_json::to_value(&stamps).unwrap();
        assert_eq!(serde_json::from_value::<Stamps>(json).unwrap(), stamps);
    }

    proptest! {
        #[test]
        fn a_stamp_fits_exactly_what_was_sent(
            sent in proptest::option::of(".{0,4}"), held in proptest::option::of(".{0,4}"),
        ) {
            let (sent, held) = (named(sent.as_deref()), named(held.as_deref()));
            let stamp = Stamp::of((7, KEY), Field::Name, &sent);
            prop_assert_eq!(stamp.fits(Field::Name, &held), sent == held);
        }
    }
}
