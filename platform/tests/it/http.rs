//! The HTTP server under clients that are slow, silent or too many, and while it drains.

mod client;
mod drain;
mod limit;
