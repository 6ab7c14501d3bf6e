//! What a line says, whatever the format: whose customer it is, and the values that it gives.

use entity::customer;
use entity::email::{Email, Policy};
use entity::external_id::ExternalId;
use entity::fields::{Field, Fields, Invalid, Member, canonical, validate_change};

/// A line that may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) email: Email,
    /// The fields that it gives, the e-mail left out; an empty one clears.
    pub(super) given: Vec<(Field, Option<String>)>,
    /// None where the line does not give it, none within where it clears it.
    pub(super) external_id: Option<Option<ExternalId>>,
}

/// What a customer has by a line.
pub(super) struct Values {
    pub(super) email: Email,
    pub(super) fields: Fields,
    pub(super) external_id: Option<ExternalId>,
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
    /// There is no e-mail, or a text cannot be what it is given for.
    pub(super) fn of(email: &str, given: Vec<(Member, Option<String>)>) -> Result<Self, String> {
        // Canonical values drop it, and what is imported must not change in silence.
        let texts = given.iter().map(|(member, text)| (member, text.as_deref()));
        for (member, text) in texts.chain([(&Field::Email.into(), Some(email))]) {
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(format!("{member} must not contain the NUL character"));
            }
        }
        let mut fields = Vec::with_capacity(given.len());
        let mut external_id = None;
        for (member, text) in given {
            match member {
                Member::Field(field) => fields.push((field, text)),
                Member::ExternalId => {
                    let id = ExternalId::parse(&text.unwrap_or_default());
                    let id = id.map_err(|error| format!("{member} {error}"))?;
                    external_id = Some(id);
                }
            }
        }
        let email = Email::parse(&canonical(email).unwrap_or_default())
            .map_err(|error| format!("{} {error}", Field::Email))?;
        Ok(Self {
            email,
            given: fields,
            external_id,
        })
    }

    /// The values that a customer has by it: canonical, and those that it changes valid as the API's are. Of one that is
    /// there, the spelling of the e-mail is left as it is, because it only says who is meant.
    pub(super) fn values(
        &self,
        known: Option<&customer::Model>,
        policy: Policy,
    ) -> Result<Values, Invalid> {
        let before = known.map(customer::Model::fields);
        let mut fields = before.clone().unwrap_or_else(|| Fields {
            email: Some(self.email.as_given().to_owned()),
            ..Fields::default()
        });
        for (field, value) in &self.given {
            fields.set(*field, value.clone());
        }
        let fields = fields.canonical();
        let email = validate_change(&before.unwrap_or_default(), &fields, policy)?;
        let external_id = match &self.external_id {
            Some(given) => given.clone(),
            None => known.and_then(customer::Model::external_id),
        };
        Ok(Values {
            email,
            fields,
            external_id,
        })
    }
}
