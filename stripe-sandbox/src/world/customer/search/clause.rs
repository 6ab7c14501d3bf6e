//! One clause of a search query, and whether a customer meets it.

use std::cmp::Ordering;

use crate::world::customer::Customer;

#[derive(Debug)]
pub(crate) struct Clause {
    pub(crate) negated: bool,
    pub(crate) field: Field,
    pub(crate) test: Test,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Created,
    Email,
    Name,
    Phone,
    Metadata(String),
}

#[derive(Debug)]
pub(crate) enum Test {
    /// Lower-cased.
    Is(String),
    /// Lower-cased.
    Contains(String),
    Null,
    Number(Accepts, i64),
}

pub(crate) type Accepts = fn(Ordering) -> bool;

impl Clause {
    pub(crate) fn admits(&self, customer: &Customer) -> bool {
        let value = match &self.field {
            Field::Created => None,
            Field::Email => customer.email.as_deref(),
            Field::Name => customer.name.as_deref(),
            Field::Phone => customer.phone.as_deref(),
            Field::Metadata(key) => customer
                .metadata
                .iter()
                .find(|(known, _)| **known == **key)
                .map(|(_, it)| &**it),
        };
        let holds = match &self.test {
            Test::Is(wanted) => value.is_some_and(|value| value.to_lowercase() == *wanted),
            Test::Contains(part) => value.is_some_and(|value| value.to_lowercase().contains(part)),
            Test::Null => value.is_none(),
            Test::Number(accepts, wanted) => accepts(customer.created.cmp(wanted)),
        };
        holds != self.negated
    }
}
