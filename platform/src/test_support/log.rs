//! What a test's thread logs.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// What this thread has logged at its level, while it captures.
    static CAPTURED: RefCell<Option<(Level, Vec<u8>)>> = const { RefCell::new(None) };
}

/// Writes to the thread that logs. One subscriber for the whole process: with one a test, a test that
/// starts or ends beside another one can leave that other without its lines.
struct PerThread;

struct Line {
    is_wanted: bool,
}

impl<'a> MakeWriter<'a> for PerThread {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { is_wanted: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        let is_wanted = CAPTURED.with_borrow(|captured| {
            let level = captured.as_ref().map(|(level, _)| level);
            level.is_some_and(|level| metadata.level() <= level)
        });
        Line { is_wanted }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        CAPTURED.with_borrow_mut(|captured| {
            if let Some((_, lines)) = captured.as_mut().filter(|_| self.is_wanted) {
                lines.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures what this thread logs from now on, at this level and above.
#[must_use]
pub fn capture(level: Level) -> Lines {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("api=trace,sync_worker=trace"))
            .with_ansi(false)
            .with_writer(PerThread)
            .init();
    });
    CAPTURED.set(Some((level, Vec::new())));
    Lines
}

/// The lines of this thread's capture; it ends with this.
pub struct Lines;

impl Lines {
    /// # Panics
    /// They are no UTF-8.
    pub fn text(&self) -> String {
        CAPTURED.with_borrow(|captured| {
            let (_, lines) = captured.as_ref().expect("it captures");
            String::from_utf8(lines.clone()).expect("lines are UTF-8")
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}
