//! Shows on a terminal how far a full pass is, below the lines of the log.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use platform::config::LogArgs;
use platform::supervisor::Supervisor;
use platform::telemetry;
use sync_worker::{Gauge, Glance};
use tokio_util::sync::CancellationToken;

/// A pass that is shorter is not shown.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// It is drawn anew at most so often.
const DRAWN_EVERY: Duration = Duration::from_millis(250);

/// The terminal that stderr is.
#[derive(Clone)]
pub(crate) struct Terminal(MultiProgress);

/// A line of the log goes above the bar.
struct Above(MultiProgress);

/// Starts logging; returns the terminal, if it is one that is logged to.
pub(crate) fn init(log: &LogArgs) -> anyhow::Result<Option<Terminal>> {
    if !std::io::stderr().is_terminal() {
        telemetry::init(log)?;
        return Ok(None);
    }
    let bars = MultiProgress::new();
    let above = bars.clone();
    telemetry::init_to(log, move || Above(above.clone()))?;
    Ok(Some(Terminal(bars)))
}

/// What the worker tells how far it is, shown on the terminal if there is one.
pub(crate) fn gauge(terminal: Option<Terminal>, supervisor: &mut Supervisor) -> Gauge {
    let gauge = Gauge::default();
    if let Some(terminal) = terminal {
        supervisor.spawn("bar", terminal.show(gauge.clone(), supervisor.stop()));
    }
    gauge
}

impl Terminal {
    /// Shows every pass until it is told to stop.
    async fn show(self, gauge: Gauge, stop: CancellationToken) -> anyhow::Result<()> {
        let mut glance = gauge.draw();
        let mut bar: Option<ProgressBar> = None;
        while !stop.is_cancelled() {
            let shown = *glance.borrow_and_update();
            match shown {
                Some(glance) if glance.since.elapsed() >= SHOWN_AFTER => {
                    let bar = bar.get_or_insert_with(|| self.add());
                    bar.set_message(text(&glance, Instant::now()));
                    bar.tick();
                }
                Some(_) => {}
                None => remove(bar.take()),
            }
            let _ = tokio::time::timeout(DRAWN_EVERY, stop.cancelled()).await;
            tokio::select! {
                () = stop.cancelled() => {}
                changed = glance.changed() => changed?,
            }
        }
        remove(bar);
        Ok(())
    }

    fn add(&self) -> ProgressBar {
        let bar = self.0.add(ProgressBar::new_spinner());
        bar.with_style(ProgressStyle::default_spinner())
    }
}

fn remove(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn text(glance: &Glance, now: Instant) -> String {
    format!(
        "comparing Stripe's customers: {} in {} pages, {}/s, {} slices left",
        glance.customers,
        glance.pages,
        glance.customers_per_second(now),
        glance.slices
    )
}

impl Write for Above {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_and_how_fast() {
        let since = Instant::now();
        let glance = Glance {
            since,
            customers_before: 1_000,
            customers: 21_000,
            pages: 210,
            slices: 8,
        };
        assert_eq!(
            text(&glance, since + Duration::from_secs(10)),
            "comparing Stripe's customers: 21000 in 210 pages, 2000/s, 8 slices left"
        );
    }
}
