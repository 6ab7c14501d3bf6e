//! How a process ends.

use std::io::Write;
use std::process::ExitCode;

use crate::redact::redact;

/// Turns the result of `main` into an exit code. An error is one line on stderr, with all its causes.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When even stderr is gone, the exit code has to say it alone.
            let text = redact(&format!("{error:#}"));
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}
