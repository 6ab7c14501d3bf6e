//! What the data is: the tables, the rules on their rows, and what crosses the broker.
//!
//! No I/O but on a connection that is handed in, no clock, no Stripe client, no broker.

pub mod api_idempotency;
pub mod change;
pub mod conflict;
pub mod customer;
pub mod decide;
pub mod downsync_state;
pub mod email;
pub mod external_id;
pub mod fields;
pub mod fingerprint;
pub mod in_hand;
pub mod installation;
pub mod merge;
pub mod message;
pub mod outbox;
pub mod parked;
pub mod sent_log;
pub mod stamp;
pub mod stripe_event;
pub mod stripe_link;
pub mod stripe_object;
pub mod stripe_read;
pub mod text;
pub mod time;
pub mod timeline;
pub mod unmatched;
pub mod write;
