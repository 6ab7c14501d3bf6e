//! What every request and answer of Stripe's protocol is made of: forms, pages, refusals.

pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod page;
