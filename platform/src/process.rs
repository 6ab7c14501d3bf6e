//! How a process ends.

use std::io::Write;

use crate::redact::redact;

/// Ends the process with 0, or with 1 and an error of one line on stderr, with all its causes. A call that still
/// blocks one of the runtime's threads is not waited for.
pub fn exit(result: anyhow::Result<()>) -> ! {
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            // When even stderr is gone, the exit code has to say it alone.
            let text = redact(&format!("{error:#}"));
            let _ = writeln!(std::io::stderr(), "error: {text}");
            1
        }
    };
    std::process::exit(code)
}
