//! What the operator asks of Stripe once, beside the process that runs.

pub(crate) mod webhook;
