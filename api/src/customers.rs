//! Customers over HTTP: the original calls, and the resource API beside them. Both write by the same transactions.

mod batch;
mod key;
mod list;
mod original;
mod patch;
mod representation;
mod resource;
mod sync;
mod timeline;
mod write;

use platform::clock::Clock;
use platform::database::Database;
use platform::wake::Wake;
use poem_openapi::Tags;
use tokio_util::sync::CancellationToken;

use crate::database::patiently;
use crate::problem::Problem;
pub(crate) use batch::Batch;
use entity::{customer, email};
pub(crate) use key::Key;
pub(crate) use original::Original;
use representation::Written;
pub(crate) use representation::{Customer, Json};
pub(crate) use resource::Resource;
pub(crate) use sync::{Summaries, Summary, wait};

/// What every operation works with.
#[derive(Clone)]
pub(crate) struct Customers {
    pub(crate) db: Database,
    pub(crate) clock: Clock,
    /// Wakes the relay after a commit.
    pub(crate) wake: Wake,
    /// Which valid e-mails are rejected.
    pub(crate) email_policy: email::Policy,
    /// Ends the waiting for a sync.
    pub(crate) stop: CancellationToken,
}

impl Customers {
    /// The living customer that a path or a body names.
    pub(crate) async fn find(&self, key: &Key) -> Result<customer::Model, Problem> {
        patiently(|| key.find(&self.db))
            .await?
            .ok_or_else(Problem::no_such_customer)
    }

    async fn find_with_summary(&self, key: &Key) -> Result<Written, Problem> {
        let row = self.find(key).await?;
        let summary = patiently(|| Summaries::of_one(&self.db, &row)).await?;
        Ok((row, summary))
    }
}

#[derive(Tags)]
#[oai(rename_all = "lowercase")]
pub(crate) enum Tag {
    /// The resource API: customers by id or e-mail, with revisions, paging and the state of their sync.
    Customers,
    /// The three original calls, by e-mail, as they always were. They answer with and without the last slash.
    Original,
    /// What waits for a person: parked customers, conflicts, Stripe customers without a customer here, and deletions that
    /// were refused. Each with its reason, the next step, and the decisions that can be taken.
    Attention,
    /// How it goes as a whole.
    Status,
}
