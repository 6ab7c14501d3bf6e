//! From Stripe.

mod absence;
mod event;
mod fence;
mod home;
mod matching;
mod merge;
mod pass;
mod race;
mod usable;
