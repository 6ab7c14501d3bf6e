//! The commands that end, beside the services that run: each returns the code that the process exits with.

use std::process::ExitCode;

pub(crate) mod apply;
pub(crate) mod export;
mod file;
mod format;
pub(crate) mod import;
mod interrupt;
mod open;
pub(crate) mod plan;
pub(crate) mod webhook;

/// How a command ended, other than by an error (1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// 0: all of it, and nothing is left to say.
    Well,
    /// 2: it ran to its end, and something differs or was not taken.
    WithRest,
}

impl Ended {
    fn with_rest(has_rest: bool) -> Self {
        if has_rest { Self::WithRest } else { Self::Well }
    }
}

/// The exit code. An error is one line on stderr.
pub(crate) fn exit(ended: anyhow::Result<Ended>) -> ExitCode {
    match ended {
        Ok(Ended::WithRest) => ExitCode::from(2),
        ended => platform::process::exit(ended.map(|_| ())),
    }
}
