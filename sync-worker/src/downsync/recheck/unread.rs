//! The customers that could not be read at the last attempt: a look at which none of them is due does not mean that
//! they can be read.

use std::collections::BTreeMap;

use entity::{stripe_link, unmatched};
use platform::database::within_bounds;
use platform::health::Cause;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};

use crate::engine::Engine;

/// Failures by Stripe's id, at most those of one batch of each kind and a few.
#[derive(Default)]
pub(super) struct Unread(BTreeMap<String, anyhow::Error>);

impl Unread {
    /// Takes in what came of reading a customer.
    pub(super) fn note<T>(&mut self, stripe_id: &str, read: anyhow::Result<T>) {
        match read {
            Ok(_) => self.0.remove(stripe_id),
            Err(error) => self.0.insert(stripe_id.to_owned(), error),
        };
    }

    /// Forgets those that nobody asks to be read any more, because they were read elsewhere or are gone.
    pub(super) async fn forget_the_served(&mut self, engine: &Engine) -> Result<(), DbErr> {
        if self.0.is_empty() {
            return Ok(());
        }
        let ids: Vec<&String> = self.0.keys().collect();
        let linked = stripe_link::Entity::find()
            .select_only()
            .column(stripe_link::Column::StripeId)
            .filter(stripe_link::Column::RecheckAt.is_not_null())
            .filter(stripe_link::Column::StripeId.is_in(ids.clone()))
            .into_tuple::<String>()
            .all(&engine.db);
        let mut asked = within_bounds(linked).await?;
        let unmatched = unmatched::Entity::find()
            .select_only()
            .column(unmatched::Column::StripeId)
            .filter(unmatched::Column::RecheckAt.is_not_null())
            .filter(unmatched::Column::StripeId.is_in(ids))
            .into_tuple::<String>()
            .all(&engine.db);
        asked.extend(within_bounds(unmatched).await?);
        self.0.retain(|stripe_id, _| asked.contains(stripe_id));
        Ok(())
    }

    pub(super) fn report(&self, reads: &Cause) {
        match self.0.values().next() {
            Some(error) => reads.problem(format!("reading customers again: {error:#}")),
            None => reads.solved(),
        }
    }

    /// One of the failures.
    pub(super) fn into_error(mut self) -> Option<anyhow::Error> {
        self.0.pop_first().map(|(_, error)| error)
    }
}
