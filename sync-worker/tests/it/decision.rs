//! What a person decides, and that the worker does it.

mod conflict;
mod deletion;
mod parked;
mod story;
mod unmatched;
