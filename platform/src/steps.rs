//! The places in a step where something else may come in between, or where the process may die. Between
//! two of them a step does one thing: one transaction, one request.
//!
//! A process that runs has nobody at these places, and passing one costs a look at an `Option`. A test
//! puts a [`Script`] there: it holds steps up, lets others run in between and drops them, so that every
//! order of events can be played, and played again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a step does when it reaches a place. Clones share the script.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Script>>);

/// Decides when a step goes on.
pub trait Script: Send + Sync {
    /// The step goes on when this resolves, and never if it is dropped.
    fn reach(&self, place: Place) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: &'static str,
    /// A write transaction is open: the step can be cut here, but on SQLite nobody else can work.
    pub in_transaction: bool,
}

impl Steps {
    pub fn scripted(script: Arc<dyn Script>) -> Self {
        Self(Some(script))
    }

    /// How many futures of one step may go on side by side: `most`, and one under a script, because an order that is
    /// to be played again has one step that runs at a time.
    pub fn side_by_side(&self, most: usize) -> usize {
        if self.0.is_some() { 1 } else { most }
    }

    /// Between what was done and what is done next, with nothing held.
    pub async fn reach(&self, name: &'static str) {
        self.pass(name, false).await;
    }

    /// Before the commit.
    pub async fn reach_commit(&self, name: &'static str) {
        self.pass(name, true).await;
    }

    async fn pass(&self, name: &'static str, in_transaction: bool) {
        if let Some(script) = &self.0 {
            let place = Place {
                name,
                in_transaction,
            };
            script.reach(place).await;
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.as_ref().map_or("unscripted", |_| "scripted");
        f.debug_tuple("Steps").field(&kind).finish()
    }
}
