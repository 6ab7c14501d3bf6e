//! Bodies of the resource API: a new customer, and the merge patch (RFC 7396) of one.

use entity::customer::Model;
use entity::fields::{Field, Fields};
use entity::stripe_object;
use poem_openapi::Object;
use poem_openapi::types::{Example, MaybeUndefined};

use super::representation::present;
use super::write::{New, Values, external_id};
use crate::body::{Input, Members};
use crate::problem::Problem;

/// The values of a new customer. Null, an empty text and an absent member are the same. Unknown members are refused.
#[derive(Object)]
#[oai(example)]
pub(super) struct NewCustomer {
    /// ASCII before the @, and a domain with a dot, in Unicode or in its xn-- form. No two living customers have the same
    /// one: case and the form of the domain are not compared.
    #[oai(validator(min_length = 3, max_length = 512))]
    email: String,
    #[oai(
        nullable,
        validator(
            max_length = 256,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    name: Option<String>,
    #[oai(
        nullable,
        validator(
            max_length = 20,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    phone: Option<String>,
    /// May have more than one line.
    #[oai(
        nullable,
        validator(
            max_length = 350,
            pattern = r"^[\t-\r \x85]*[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    description: Option<String>,
    /// The id that the application has for it; compared as it is. No two living customers have the same one. It is kept in
    /// the Stripe customer's metadata as `customer_sync_external_id`.
    #[oai(
        nullable,
        validator(
            max_length = 255,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    external_id: Option<String>,
    /// The Stripe customer that it is, where that is known. It is read before anything is sent: the two are united as
    /// FIELD_OWNER says, and a customer that Stripe does not have is parked (`unknown_in_stripe`, `deleted_in_stripe`).
    #[oai(nullable, validator(max_length = 255, pattern = "^cus_[A-Za-z0-9_]+$"))]
    stripe_id: Option<String>,
}

impl NewCustomer {
    pub(super) fn checked(self) -> Result<New, Problem> {
        let external_id = external_id(&self.external_id.unwrap_or_default())?;
        let stripe_id = stripe_id(self.stripe_id)?;
        let fields = Fields {
            email: Some(self.email),
            name: self.name,
            phone: self.phone,
            description: self.description,
        };
        let values = Values::of(fields, external_id)?;
        Ok(New { values, stripe_id })
    }
}

fn stripe_id(text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(id) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if id.starts_with("cus_") && stripe_object::is_id(&id) {
        return Ok(Some(id));
    }
    Err(Problem::invalid(
        "stripe_id",
        "stripe_id must be the id of a Stripe customer, such as cus_NffrFeUfNV2Hib",
    ))
}

impl Input for NewCustomer {
    type Schema = Self;

    fn read(mut members: Members) -> Result<Self, Problem> {
        let read = Self {
            email: members.required("email")?,
            name: present(members.text("name")?),
            phone: present(members.text("phone")?),
            description: present(members.text("description")?),
            external_id: present(members.text("external_id")?),
            stripe_id: present(members.text("stripe_id")?),
        };
        members.none_left()?;
        Ok(read)
    }
}

impl Example for NewCustomer {
    fn example() -> Self {
        Self {
            email: "bob@example.com".to_owned(),
            name: Some("Bob".to_owned()),
            phone: Some("+41 44 668 18 00".to_owned()),
            description: None,
            external_id: Some("user-42".to_owned()),
            stripe_id: None,
        }
    }
}

/// What is to change: an absent member is kept, null or an empty text clears it. The e-mail can be changed and not
/// cleared. Unknown members are refused.
#[derive(Object)]
#[oai(example)]
pub(super) struct CustomerPatch {
    #[oai(validator(min_length = 3, max_length = 512))]
    email: MaybeUndefined<String>,
    #[oai(
        nullable,
        validator(
            max_length = 256,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    name: MaybeUndefined<String>,
    #[oai(
        nullable,
        validator(
            max_length = 20,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    phone: MaybeUndefined<String>,
    #[oai(
        nullable,
        validator(
            max_length = 350,
            pattern = r"^[\t-\r \x85]*[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    description: MaybeUndefined<String>,
    #[oai(
        nullable,
        validator(
            max_length = 255,
            pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
        )
    )]
    external_id: MaybeUndefined<String>,
}

impl CustomerPatch {
    /// The values of `row` with this patch. Only what it changes is checked: what came from Stripe before may not fit our
    /// bounds, and must not stand in the way.
    pub(super) fn apply(&self, row: &Model) -> Result<Values, Problem> {
        let mut patched = row.fields();
        let given = [
            (Field::Email, &self.email),
            (Field::Name, &self.name),
            (Field::Phone, &self.phone),
            (Field::Description, &self.description),
        ];
        for (field, value) in given {
            if !value.is_undefined() {
                patched.set(field, present(value.clone()));
            }
        }
        let external_id = match &self.external_id {
            MaybeUndefined::Undefined => row.external_id(),
            MaybeUndefined::Null => None,
            MaybeUndefined::Value(text) => external_id(text)?,
        };
        Values::change(&row.fields(), patched, external_id)
    }
}

impl Input for CustomerPatch {
    type Schema = Self;
    const MEDIA_TYPES: &'static [&'static str] =
        &["application/merge-patch+json", "application/json"];

    fn read(mut members: Members) -> Result<Self, Problem> {
        let read = Self {
            email: members.text("email")?,
            name: members.text("name")?,
            phone: members.text("phone")?,
            description: members.text("description")?,
            external_id: members.text("external_id")?,
        };
        members.none_left()?;
        Ok(read)
    }
}

impl Example for CustomerPatch {
    fn example() -> Self {
        Self {
            email: MaybeUndefined::Undefined,
            name: MaybeUndefined::Value("Robert".to_owned()),
            phone: MaybeUndefined::Null,
            description: MaybeUndefined::Undefined,
            external_id: MaybeUndefined::Undefined,
        }
    }
}
