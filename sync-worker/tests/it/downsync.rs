//! From Stripe.

mod absence;
mod arrival;
mod cut;
mod duplicate;
mod event;
mod fence;
mod health;
mod home;
mod inbox;
mod matching;
mod merge;
mod pass;
mod race;
mod usable;
