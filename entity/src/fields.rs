//! The fields that both sides hold, in the one canonical form that everything else compares.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Serialize};

use crate::email::{self, Email};

/// A field that is kept in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Email,
    Name,
    Phone,
    Description,
}

impl Field {
    pub const ALL: [Self; 4] = [Self::Email, Self::Name, Self::Phone, Self::Description];

    /// The name that the API, Stripe, the logs and the database use for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Name => "name",
            Self::Phone => "phone",
            Self::Description => "description",
        }
    }

    /// The longest accepted text, in characters. Those of Stripe's customer object, where it
    /// states or is known to have one, so that what is accepted here is accepted there.
    pub fn max_chars(self) -> usize {
        match self {
            Self::Email => crate::email::MAX_CHARS,
            Self::Name => 256,
            Self::Phone => 20,
            Self::Description => 350,
        }
    }
}

/// What a change can give another value: a field, or the id that the application has for the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    ExternalId,
    #[serde(untagged)]
    Field(Field),
}

impl Member {
    /// The name that the API and the database use for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExternalId => "external_id",
            Self::Field(field) => field.as_str(),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Field> for Member {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

/// What a change has changed, as a column holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
#[serde(transparent)]
pub struct Members(pub Vec<Member>);

impl FromIterator<Field> for Members {
    fn from_iter<T: IntoIterator<Item = Field>>(fields: T) -> Self {
        Self(fields.into_iter().map(Member::Field).collect())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|field| field.as_str() == text)
            .ok_or_else(|| "must be email, name, phone or description".to_owned())
    }
}

/// The values of one customer on one side.
///
/// Always compare canonical values: trimmed, an empty text is `None`, and the NUL character, which
/// Postgres can't store, is dropped. Otherwise null, "" and " " would differ for ever.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, FromJsonQueryResult,
)]
pub struct Fields {
    pub email: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub description: Option<String>,
}

impl Fields {
    pub fn get(&self, field: Field) -> Option<&str> {
        match field {
            Field::Email => self.email.as_deref(),
            Field::Name => self.name.as_deref(),
            Field::Phone => self.phone.as_deref(),
            Field::Description => self.description.as_deref(),
        }
    }

    pub fn set(&mut self, field: Field, value: Option<String>) {
        match field {
            Field::Email => self.email = value,
            Field::Name => self.name = value,
            Field::Phone => self.phone = value,
            Field::Description => self.description = value,
        }
    }

    /// The same values in canonical form. Idempotent.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        for field in Field::ALL {
            let value = self.get(field).and_then(canonical);
            self.set(field, value);
        }
        self
    }

    /// The fields in which two canonical values differ.
    pub fn differing(&self, other: &Self) -> Vec<Field> {
        Field::ALL
            .into_iter()
            .filter(|field| self.get(*field) != other.get(*field))
            .collect()
    }
}

/// One text in canonical form; `None` for an empty one.
pub fn canonical(text: &str) -> Option<String> {
    canonical_part(text).map(Cow::into_owned)
}

/// The same, borrowed where that can be.
pub fn canonical_part(text: &str) -> Option<Cow<'_, str>> {
    let part = if text.contains('\0') {
        Cow::Owned(text.replace('\0', "").trim().to_owned())
    } else {
        Cow::Borrowed(text.trim())
    };
    (!part.is_empty()).then_some(part)
}

/// A value that can't be stored, and why. Never quotes the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Invalid {
    pub field: Field,
    pub reason: String,
}

/// Checks canonical values that an application wants to store; the first field at fault is named.
pub fn validate(fields: &Fields, policy: email::Policy) -> Result<Email, Invalid> {
    validate_change(&Fields::default(), fields, policy)
}

/// Checks canonical values that an application wants to store in place of others. A value that stays as it is may have
/// come from Stripe, or from an older version, and need not fit.
pub fn validate_change(
    before: &Fields,
    after: &Fields,
    policy: email::Policy,
) -> Result<Email, Invalid> {
    let invalid = |field, reason: String| Invalid { field, reason };
    let email = Email::parse(after.email.as_deref().unwrap_or_default())
        .map_err(|error| invalid(Field::Email, error.to_string()))?;
    if before.email != after.email {
        policy
            .check(&email)
            .map_err(|rejection| invalid(Field::Email, rejection.to_string()))?;
    }
    for field in [Field::Name, Field::Phone, Field::Description] {
        let Some(text) = after
            .get(field)
            .filter(|_| before.get(field) != after.get(field))
        else {
            continue;
        };
        let max = field.max_chars();
        if text.chars().count() > max {
            return Err(invalid(
                field,
                format!("must have at most {max} characters"),
            ));
        }
        let may_break = field == Field::Description;
        if text
            .chars()
            .any(|c| c.is_control() && !(may_break && matches!(c, '\n' | '\r' | '\t')))
        {
            return Err(invalid(field, "must not contain control characters".into()));
        }
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(email: &str, name: &str) -> Fields {
        Fields {
            email: Some(email.into()),
            name: Some(name.into()),
            ..Fields::default()
        }
    }

    #[test]
    fn null_empty_and_blank_are_one_value() {
        let forms = [None, Some(""), Some("  "), Some("\u{0}")].map(|name| {
            Fields {
                name: name.map(str::to_owned),
                ..Fields::default()
            }
            .canonical()
        });
        assert!(forms.iter().all(|form| *form == Fields::default()));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let validate = |fields: &Fields| validate(fields, email::Policy::default());
        let fault = |fields: &Fields| validate(fields).unwrap_err().field;
        assert_eq!(fault(&Fields::default()), Field::Email);
        assert_eq!(fault(&fields("nobody", "x")), Field::Email);
        assert_eq!(fault(&fields("a@x.io", &"é".repeat(257))), Field::Name);
        assert_eq!(fault(&fields("a@x.io", "a\u{7}b")), Field::Name);
        let mut good = fields("a@x.io", &"é".repeat(256));
        good.description = Some("two\nlines".into());
        validate(&good).unwrap();
        good.phone = Some("1".repeat(21));
        assert_eq!(fault(&good), Field::Phone);
    }

    #[test]
    fn values_that_stay_are_not_checked() {
        let policy: email::Policy = "dots".parse().unwrap();
        let mut before = fields("a..b@x.io", "a\u{7}b");
        before.phone = Some("1".repeat(21));
        let mut after = before.clone();
        after.description = Some("new".to_owned());
        let email = validate_change(&before, &after, policy).unwrap();
        assert_eq!(email.as_given(), "a..b@x.io");
        let changes = [
            (Field::Email, "c..d@x.io".to_owned()),
            (Field::Name, "c\u{7}d".to_owned()),
            (Field::Phone, "2".repeat(21)),
        ];
        for (field, value) in changes {
            let mut changed = after.clone();
            changed.set(field, Some(value));
            let invalid = validate_change(&before, &changed, policy).unwrap_err();
            assert_eq!(invalid.field, field);
        }
        assert!(validate(&fields("a..b@x.io", "x"), policy).is_err());
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_equality_is_no_difference(
            a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}",
        ) {
            let one = fields(&a, &b).canonical();
            prop_assert_eq!(one.clone().canonical(), one.clone());
            let two = fields(&c, &d).canonical();
            prop_assert_eq!(one == two, one.differing(&two).is_empty());
        }
    }
}
