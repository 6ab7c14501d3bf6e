//! Work that is tried again until it succeeds, several pieces side by side: the problem that one of them reports ends
//! by its own success, not by that of another piece.

use super::{Cause, Problem};

/// One piece of work. Dropped after a failure it was given up, and the problem ends by the next success.
#[derive(Debug)]
pub struct Attempt {
    cause: Cause,
    has_failed: bool,
}

impl Attempt {
    pub(super) fn new(cause: Cause) -> Self {
        Self {
            cause,
            has_failed: false,
        }
    }

    pub fn failed(&mut self, problem: impl Into<Problem>) {
        let is_first = !std::mem::replace(&mut self.has_failed, true);
        let Cause { component, name } = &self.cause;
        component.fail(name, problem.into(), usize::from(is_first));
    }

    /// Ends the problem, unless another attempt has failed and goes on.
    pub fn succeeded(mut self) {
        let own = usize::from(std::mem::take(&mut self.has_failed));
        let Cause { component, name } = &self.cause;
        component.end(name, |failure| {
            failure.attempts = failure.attempts.saturating_sub(own);
            failure.attempts == 0
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_failed {
            let Cause { component, name } = &self.cause;
            component.end(name, |failure| {
                failure.attempts = failure.attempts.saturating_sub(1);
                false
            });
        }
    }
}
