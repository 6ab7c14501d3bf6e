//! The three original calls: by e-mail, and with a name only. Their paths get their last slash from [`Slashed`].
//!
//! [`Slashed`]: crate::openapi::Slashed

use entity::email::Email;
use entity::fields::Fields;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::key::Key;
use super::representation::{Created, Deleted, Updated, present};
use super::write::Values;
use super::{Customers, Tag};
use crate::auth::Caller;
use crate::body::{Input, JsonBody, Members};
use crate::problem::{BODY, Documented, Listed, Problem, Refusal};

#[derive(Clone)]
pub(crate) struct Original(pub(crate) Customers);

#[OpenApi(prefix_path = "/api", tag = "Tag::Original")]
impl Original {
    /// Create a customer
    ///
    /// Writes the customer and answers; Stripe gets it soon after, however long Stripe is away.
    #[oai(
        path = "/create-customer",
        method = "post",
        operation_id = "originalCreate"
    )]
    async fn create(
        &self,
        caller: Caller,
        body: JsonBody<NamedCustomer>,
    ) -> Result<Created, Refusal<Creating>> {
        let new = body.0.values()?.into();
        let answer = self.0.create(new, None, caller.traceparent).await?;
        Ok(Created::answer(answer))
    }

    /// Rename a customer
    ///
    /// Gives the customer with this e-mail the name. Its other values stay as they are.
    #[oai(
        path = "/update-customer",
        method = "put",
        operation_id = "originalUpdate"
    )]
    async fn update(
        &self,
        caller: Caller,
        body: JsonBody<NamedCustomer>,
    ) -> Result<Updated, Refusal<Changing>> {
        let Values { email, fields, .. } = body.0.values()?;
        let rename = |row: &entity::customer::Model| {
            let renamed = Fields {
                name: fields.name.clone(),
                ..row.fields()
            };
            let email =
                Email::parse(&row.email).map_err(|error| Problem::internal().because(error))?;
            Ok(Values {
                email,
                fields: renamed,
                external_id: row.external_id(),
            })
        };
        let key = Key::Email(email);
        let row = self
            .0
            .update(&key, None, rename, caller.traceparent)
            .await?;
        Ok(row.into())
    }

    /// Delete a customer
    ///
    /// Deletes the customer with this e-mail, here and then in Stripe. The name may be left out and is not compared.
    #[oai(
        path = "/delete-customer",
        method = "delete",
        operation_id = "originalDelete"
    )]
    async fn delete(
        &self,
        caller: Caller,
        body: JsonBody<DeletedCustomer>,
    ) -> Result<Deleted, Refusal<Changing>> {
        let email = Email::parse(&body.0.email)
            .map_err(|error| Problem::invalid("email", format!("email {error}")))?;
        let key = Key::Email(email);
        let row = self.0.delete(&key, None, caller.traceparent).await?;
        Ok(row.into())
    }
}

/// A name and an e-mail. Other members are ignored.
#[derive(Object)]
#[oai(example)]
struct NamedCustomer {
    #[oai(validator(
        max_length = 256,
        pattern = r"^[\t-\r \x85]*[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*[\t-\r \x85]*$"
    ))]
    name: String,
    /// ASCII before the @, and a domain with a dot, in Unicode or in its xn-- form; compared without case.
    #[oai(validator(min_length = 3, max_length = 512))]
    email: String,
}

impl NamedCustomer {
    fn values(self) -> Result<Values, Problem> {
        let values = Values::of(
            Fields {
                email: Some(self.email),
                name: Some(self.name),
                ..Fields::default()
            },
            None,
        )?;
        match values.fields.name {
            Some(_) => Ok(values),
            None => Err(Problem::invalid("name", "name must not be empty")),
        }
    }
}

impl Input for NamedCustomer {
    type Schema = Self;

    fn read(mut members: Members) -> Result<Self, Problem> {
        Ok(Self {
            name: members.required("name")?,
            email: members.required("email")?,
        })
    }
}

impl Example for NamedCustomer {
    fn example() -> Self {
        Self {
            name: "Bob".to_owned(),
            email: "bob@example.com".to_owned(),
        }
    }
}

/// An e-mail, and perhaps a name. Other members are ignored.
#[derive(Object)]
#[oai(example)]
struct DeletedCustomer {
    /// Not compared.
    #[oai(nullable)]
    name: Option<String>,
    /// Whose customer to delete; compared without case.
    #[oai(validator(min_length = 3, max_length = 512))]
    email: String,
}

impl Input for DeletedCustomer {
    type Schema = Self;

    fn read(mut members: Members) -> Result<Self, Problem> {
        Ok(Self {
            name: present(members.text("name")?),
            email: members.required("email")?,
        })
    }
}

impl Example for DeletedCustomer {
    fn example() -> Self {
        Self {
            name: None,
            email: "bob@example.com".to_owned(),
        }
    }
}

const INVALID: Listed = (
    422,
    "A value can't be accepted; `field` names it (`validation_failed`).",
);

struct Creating;

impl Documented for Creating {
    const PROBLEMS: &'static [&'static [Listed]] = &[
        BODY,
        &[
            (409, "Another customer has this e-mail (`email_taken`)."),
            INVALID,
        ],
    ];
}

struct Changing;

impl Documented for Changing {
    const PROBLEMS: &'static [&'static [Listed]] = &[
        BODY,
        &[
            (404, "No living customer has this e-mail (`not_found`)."),
            INVALID,
        ],
    ];
}
