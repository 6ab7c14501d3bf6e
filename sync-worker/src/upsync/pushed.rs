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
