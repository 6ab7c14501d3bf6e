//! Decides which published rows are done with, and moves those to the timeline.

use std::collections::HashSet;

use chrono::SubsecRound;
use entity::outbox;
use platform::broker::Outcome;
use platform::database::{self, within_bounds};
use sea_orm::prelude::Uuid;
use sea_orm::{DbBackend, DbErr};

use crate::active::Error;
use crate::{LEASE, Relay};

/// The rows that were published, since the last time none was in flight.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// The ids of the rows to delete.
    pub(crate) confirmed: Vec<i64>,
    /// The customers that have rows which were not confirmed: those and all behind them are
    /// published again.
    pub(crate) stuck: HashSet<Uuid>,
}

impl Verdict {
    /// Adds the outcome of the row that was published next.
    ///
    /// A row is done with after its own confirm, and only if every earlier row of the same customer
    /// is, too: what has to be published again is published again from the first unconfirmed row on,
    /// in order.
    pub(crate) fn add(&mut self, (id, customer_id): (i64, Uuid), outcome: Outcome) {
        let is_confirmed = outcome == Outcome::Confirmed;
        if is_confirmed && !self.stuck.contains(&customer_id) {
            self.confirmed.push(id);
        } else {
            self.stuck.insert(customer_id);
        }
    }
}

/// Moves confirmed rows out of the outbox, under the lease's epoch.
///
/// # Errors
/// `Replaced`, when the lease has another epoch by now. Nothing is moved then, and the new holder
/// publishes them once more.
pub(crate) async fn settle(relay: &Relay, ids: Vec<i64>, epoch: i64) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let settling = settled(relay, &ids, epoch);
    let settled = within_bounds(settling).await.map_err(Error::Database)?;
    tracing::debug!(rows = settled, "settled");
    // All of them are moved or, under a foreign lease, none; somebody who deletes rows
    // by hand takes some.
    if settled == 0 {
        Err(Error::Replaced)
    } else {
        Ok(())
    }
}

async fn settled(relay: &Relay, ids: &[i64], epoch: i64) -> Result<u64, DbErr> {
    let now = relay.clock.now().trunc_subsecs(6);
    if relay.db.get_database_backend() == DbBackend::Postgres {
        return outbox::settle(&relay.db, ids, (LEASE, epoch), now).await;
    }
    let tx = database::begin(&relay.db).await?;
    let settled = outbox::settle(&tx, ids, (LEASE, epoch), now).await?;
    tx.commit().await?;
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            4 => Just(Outcome::Confirmed),
            1 => Just(Outcome::Refused),
            1 => Just(Outcome::Unroutable),
            1 => Just(Outcome::Unknown),
        ]
    }

    /// Rows of a few customers in the order of their ids, each with its outcome.
    fn published() -> impl Strategy<Value = Vec<((i64, Uuid), Outcome)>> {
        prop::collection::vec((0..5_u128, outcome()), 0..40).prop_map(|drawn| {
            let rows = drawn.into_iter().zip(1..);
            let rows =
                rows.map(|((customer, outcome), id)| ((id, Uuid::from_u128(customer)), outcome));
            rows.collect()
        })
    }

    fn verdict(published: &[((i64, Uuid), Outcome)]) -> Verdict {
        let mut verdict = Verdict::default();
        for (row, outcome) in published {
            verdict.add(*row, *outcome);
        }
        verdict
    }

    proptest! {
        #[test]
        fn only_confirmed_rows_are_settled(published in published()) {
            let verdict = verdict(&published);
            for ((id, _), outcome) in &published {
                prop_assert!(!verdict.confirmed.contains(id) || *outcome == Outcome::Confirmed);
            }
        }

        #[test]
        fn rows_behind_an_unconfirmed_one_of_the_same_customer_stay(published in published()) {
            let verdict = verdict(&published);
            for customer in published.iter().map(|((_, customer), _)| *customer) {
                let of_customer = published.iter().filter(|((_, other), _)| *other == customer);
                let mut unconfirmed =
                    of_customer.clone().filter(|(_, outcome)| *outcome != Outcome::Confirmed);
                let from = unconfirmed.next().map_or(i64::MAX, |((id, _), _)| *id);
                for ((id, _), _) in of_customer {
                    prop_assert_eq!(verdict.confirmed.contains(id), *id < from);
                }
                prop_assert_eq!(verdict.stuck.contains(&customer), from != i64::MAX);
            }
        }
    }
}
