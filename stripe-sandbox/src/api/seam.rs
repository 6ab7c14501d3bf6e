//! Where something may get between the steps of an honest answer. The default is that nothing does.

use std::time::Duration;

use crate::wire::error::Error;

#[derive(Clone, Debug, Default)]
pub(crate) struct Seam {
    /// The idempotency store has lost this request's key.
    pub(crate) forget_key: bool,
    /// The request is in progress for this long before it takes effect.
    pub(crate) delay_before_effect: Duration,
    /// The answer, saved under the key, of a request that had no effect.
    pub(crate) instead_of_effect: Option<Error>,
    /// The answer, saved under the key, of a request that had its effect.
    pub(crate) after_effect: Option<Error>,
    /// The search index does not know what changed within this time.
    pub(crate) search_lag: Duration,
}

impl Seam {
    pub(crate) async fn before_effect(&self) {
        if !self.delay_before_effect.is_zero() {
            tokio::time::sleep(self.delay_before_effect).await;
        }
    }
}
