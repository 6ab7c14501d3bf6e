//! Events: what is kept of one, how it is shown, and the log of the last thirty days.

pub(crate) mod log;
mod record;

pub(crate) use self::record::{Event, EventView, Head, Id, Kind, RequestId, type_matches};
