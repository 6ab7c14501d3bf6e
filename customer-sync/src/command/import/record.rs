//! What a line says, whatever the format: whose customer it is, and the values that it gives.

use entity::email::{Email, Policy};
use entity::fields::{Field, Fields, Invalid, canonical, validate_change};

/// A line that may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) email: Email,
    /// The fields that it gives, the e-mail left out; an empty one clears.
    pub(super) given: Vec<(Field, Option<String>)>,
}

/// A line, and why it is refused. The reason quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Of its first line in the file, from 1 on.
    pub(super) number: u64,
    pub(super) record: Result<Record, String>,
}

/// What an export has beside the fields.
pub(super) const IGNORED: [&str; 4] = ["id", "stripe_id", "rev", "updated_at"];

impl Record {
    /// # Errors
    /// There is no e-mail, or it cannot be one.
    pub(super) fn of(email: &str, given: Vec<(Field, Option<String>)>) -> Result<Self, String> {
        // Canonical values drop it, and what is imported must not change in silence.
        let texts = given.iter().map(|(field, text)| (field, text.as_deref()));
        for (field, text) in texts.chain([(&Field::Email, Some(email))]) {
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(format!("{field} must not contain the NUL character"));
            }
        }
        let email = Email::parse(&canonical(email).unwrap_or_default())
            .map_err(|error| format!("{} {error}", Field::Email))?;
        Ok(Self { email, given })
    }

    /// The values that a customer has by it: canonical, and those that it changes valid as the API's are. Of one that is
    /// there, the spelling of the e-mail is left as it is, because it only says who is meant.
    pub(super) fn values(
        &self,
        known: Option<&Fields>,
        policy: Policy,
    ) -> Result<(Email, Fields), Invalid> {
        let mut fields = known.cloned().unwrap_or_else(|| Fields {
            email: Some(self.email.as_given().to_owned()),
            ..Fields::default()
        });
        for (field, value) in &self.given {
            fields.set(*field, value.clone());
        }
        let fields = fields.canonical();
        let before = known.cloned().unwrap_or_default();
        let email = validate_change(&before, &fields, policy)?;
        Ok((email, fields))
    }
}
