//! What the faults that struck one webhook do to it.

use std::time::Duration;

use super::kind::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tamper {
    /// How often it is sent.
    pub(crate) copies: usize,
    pub(crate) delay: Duration,
    pub(crate) wrongly_signed: bool,
}

impl Default for Tamper {
    fn default() -> Self {
        Self {
            copies: 1,
            delay: Duration::ZERO,
            wrongly_signed: false,
        }
    }
}

impl Tamper {
    pub(crate) fn new(struck: &[Kind], dice: u64) -> Self {
        const COPIES_MAX: usize = 100;
        let mut tamper = Self::default();
        let mut lost = false;
        for kind in struck {
            match kind {
                Kind::WebhookDuplicated { copies } => tamper.copies += (*copies).min(COPIES_MAX),
                Kind::WebhookDelayed { delay } => tamper.delay += *delay,
                Kind::WebhookShuffled { delay } => {
                    let most = u64::try_from(delay.as_millis())
                        .unwrap_or(u64::MAX)
                        .saturating_add(1);
                    tamper.delay += Duration::from_millis(dice % most);
                }
                Kind::WebhookWronglySigned => tamper.wrongly_signed = true,
                Kind::WebhookLost => lost = true,
                _ => {}
            }
        }
        if lost {
            tamper.copies = 0;
        }
        tamper
    }
}
