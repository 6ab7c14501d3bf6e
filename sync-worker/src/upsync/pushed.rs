//! What a push came to.

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Stripe holds what was sent.
    Done,
    /// Stripe holds it, or an older customer was found, and the row asks for more.
    Again,
    /// Tried again later, by the link's `next_attempt_at`.
    Later,
    /// A person has to look.
    Parked,
    /// Somebody else finished it, because this push had outlived its token.
    Superseded,
}

impl Pushed {
    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Again => "again",
            Self::Later => "later",
            Self::Parked => "parked",
            Self::Superseded => "superseded",
        }
    }
}

/// Counts changes that reached Stripe without a call of their own, because state is pushed and not messages.
pub(super) fn count_saved(changes: i64) {
    let changes = u64::try_from(changes).unwrap_or_default();
    metrics::counter!("upsync_calls_saved_total").increment(changes);
}
