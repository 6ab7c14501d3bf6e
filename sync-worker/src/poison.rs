//! Items whose handling ends the process. One that was begun so often and never finished is given up, so
//! that the others go on.
//!
//! Normally nothing is written down. Only while a worker is known to have died lately, each item is noted
//! before it is taken in hand, and struck out after, whatever came of it. A push needs none of this: its
//! link says that it began.

use std::collections::HashSet;

use entity::in_hand;
use platform::database::within_bounds;
use sea_orm::DbErr;

use crate::engine::Engine;
use crate::registry;

/// How often an item, or the push of a customer, is begun and not finished before it is given up.
pub const MOST: i32 = 5;

/// Whether to be careful, and what is in hand.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    engine: &'a Engine,
    kind: &'static str,
    is_careful: bool,
}

impl<'a> Watch<'a> {
    /// For items of one kind.
    pub async fn of(engine: &'a Engine, kind: &'static str) -> Result<Self, DbErr> {
        Ok(Self {
            engine,
            kind,
            is_careful: registry::has_one_died(engine).await?,
        })
    }

    pub(crate) fn is_careful(&self) -> bool {
        self.is_careful
    }

    /// Be careful in any case if this is so: the item comes for a second time, say.
    pub(crate) fn or_careful(self, is_careful: bool) -> Self {
        Self {
            is_careful: self.is_careful || is_careful,
            ..self
        }
    }

    /// Of these items, those that were in hand when a process ended: one of them may be what ended it.
    pub(crate) async fn suspects(&self, items: Vec<String>) -> Result<HashSet<String>, DbErr> {
        within_bounds(in_hand::find(&self.engine.db, (self.kind, items))).await
    }

    /// Takes an item in hand; false if it is to be given up.
    pub(crate) async fn begin(&self, item: &str) -> Result<bool, DbErr> {
        if !self.is_careful {
            return Ok(true);
        }
        let now = self.engine.now(&self.engine.db).await?;
        let begun = in_hand::begin(&self.engine.db, (self.kind, item), now);
        let begun = within_bounds(begun).await?;
        if begun > MOST {
            tracing::error!(
                kind = self.kind,
                stripe.id = item,
                "the process has ended {MOST} times while this was being handled; it is given up: look in the \
                 logs for why, and correct the customer"
            );
            metrics::counter!("poison_given_up_total", "kind" => self.kind).increment(1);
        }
        Ok(begun <= MOST)
    }

    /// They came to an end and the process lives.
    pub(crate) async fn end(&self, items: &[String]) {
        if !self.is_careful {
            return;
        }
        let end = in_hand::end(&self.engine.db, (self.kind, items));
        if let Err(error) = within_bounds(end).await {
            tracing::warn!(kind = self.kind, stripe.ids = ?items, %error, "striking out what was in hand");
        }
    }
}
