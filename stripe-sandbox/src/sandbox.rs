//! The account as its owner holds it: the handle, what its parts share, the record of its requests.

pub(crate) mod handle;
pub(crate) mod state;
pub(crate) mod traffic;
