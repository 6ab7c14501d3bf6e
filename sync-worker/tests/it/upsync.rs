//! To Stripe.

mod breaker;
mod crash;
mod create;
mod delete;
mod doubt;
mod external_id;
mod given;
mod lane;
mod mismatch;
mod refusal;
mod sweep;
mod twin;
mod unread;
mod update;
