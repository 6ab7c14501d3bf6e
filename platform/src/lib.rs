//! How a process of this workspace runs: configuration, telemetry, database, broker, supervision,
//! health. It knows no customer, no Stripe and no route, so that another product could take it as
//! it is.

pub mod admin;
pub mod backoff;
pub mod broker;
pub mod clock;
pub mod config;
pub mod database;
pub mod descriptors;
pub mod health;
pub mod heartbeat;
pub mod http;
pub mod lease;
pub mod moment;
pub mod panic;
pub mod process;
pub mod redact;
pub mod settings;
pub mod sqlite_file;
pub mod steps;
pub mod supervisor;
pub mod telemetry;
#[cfg(feature = "test-support")]
pub mod test_support;
pub mod wake;
