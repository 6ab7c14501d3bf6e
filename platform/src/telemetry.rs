//! Logs, metrics and trace context of a process. Logs go to stderr; targets that would print a
//! statement's values or a message's body are cut, whatever filter is asked for.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogArgs, LogFormat};
use crate::settings;

/// Starts logging, to stderr.
///
/// # Errors
/// When the filter can't be read, or when the process logs already.
pub fn init(args: &LogArgs) -> anyhow::Result<()> {
    init_to(args, std::io::stderr)
}

/// Starts logging to stderr by a writer that knows what else is drawn there.
///
/// # Errors
/// As those of [`init`].
pub fn init_to<W>(args: &LogArgs, writer: W) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    log(args, writer)?.try_init().context("starting the log")?;
    for note in settings::take_notes() {
        tracing::warn!("{note}");
    }
    Ok(())
}

fn log<W>(args: &LogArgs, writer: W) -> anyhow::Result<Box<dyn Subscriber + Send + Sync>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Whatever ends a connection comes to its holder as an error, and lapin would say it twice more.
    // poem tells of every start and stop what the process says itself. The migrator has two lines for each migration.
    let filter = EnvFilter::try_new(format!(
        "lapin=off,poem=warn,sea_orm_migration=warn,{}",
        args.log
    ))
    .context("reading the log filter (LOG), such as info or info,sync_worker=debug")?;
    let filtered = tracing_subscriber::registry()
        .with(filter)
        .with(filter_fn(discreet));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(writer);
    Ok(match args.log_format {
        LogFormat::Text => Box::new(filtered.with(lines)),
        LogFormat::Json => Box::new(filtered.with(lines.json().flatten_event(true))),
    })
}

/// The crates of this workspace, or what the names of some end with: their debug and trace lines hold no secret.
const OWN: [&str; 8] = [
    "api",
    "entity",
    "migration",
    "outbox_relay",
    "platform",
    "sync_worker",
    "_sync",
    "_sandbox",
];

/// These warn with a whole message, and with parts of a database URL or a password file.
const CUT: [&str; 2] = ["lapin::returned_messages", "sqlx_postgres::options"];

/// Below info libraries print statements with their values, frames with their bodies, and headers with their keys: only
/// the lines of this project are kept there.
fn discreet(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if CUT.iter().any(|name| target.starts_with(name)) {
        return false;
    }
    let name = target.split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || OWN.iter().any(|own| is_named(name, own))
}

fn is_named(name: &str, own: &str) -> bool {
    name == own || own.starts_with('_') && name.ends_with(own)
}

/// Starts collecting metrics, once per process; every later call gets the same handle.
///
/// # Errors
/// When another recorder is installed already.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    // The metrics crate keeps one recorder per process; this only remembers the handle to it.
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let handle = HANDLE.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    handle.clone().map_err(anyhow::Error::msg)
}

fn install() -> anyhow::Result<PrometheusHandle> {
    // Fixed buckets, because they can be added up over processes, and quantiles can't. Seconds,
    // from 1 ms to 2 min.
    const BUCKETS: [f64; 14] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0, 120.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets(&BUCKETS)
        .context("reading the histogram buckets")?
        .install_recorder()
        .context("starting the metrics")?;
    // Samples pile up until somebody drains them. A scrape does, but not every process is scraped,
    // so a thread that lives as long as the recorder does it as well.
    let drained = handle.clone();
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(5));
                drained.run_upkeep();
            }
        })
        .context("starting the metrics thread")?;
    Ok(handle)
}

/// A new W3C trace context, sampled: `00-<trace id>-<span id>-01`.
pub fn traceparent() -> String {
    format!(
        "00-{:032x}-{}-01",
        rand::random_range(1..=u128::MAX),
        span_id()
    )
}

/// The trace context of a step below `parent`: the same trace, a new span. A fresh trace when
/// `parent` is absent or isn't a valid traceparent
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub fn traceparent_child(parent: Option<&str>) -> String {
    match parent.and_then(valid) {
        Some((trace_id, flags)) => format!("00-{trace_id}-{}-{flags}", span_id()),
        None => traceparent(),
    }
}

fn span_id() -> String {
    format!("{:016x}", rand::random_range(1..=u64::MAX))
}

/// The trace id and the flags of a traceparent, when all four parts are as the specification has
/// them.
fn valid(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let (parent_id, flags) = (parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let well_formed = version == "00"
        && parts.next().is_none()
        && hex(trace_id, 32)
        && hex(parent_id, 16)
        && hex(flags, 2)
        && !zero(trace_id)
        && !zero(parent_id);
    well_formed.then_some((trace_id, flags))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_child_keeps_the_trace_and_its_flags_and_gets_its_own_span() {
        let parent = traceparent();
        let child = traceparent_child(Some(&parent));
        assert_eq!(parent.len(), 55);
        assert_eq!(valid(&parent), valid(&child));
        assert_ne!(parent, child);
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert!(traceparent_child(Some(unsampled)).ends_with("-00"));
    }

    #[test]
    fn what_is_not_a_traceparent_starts_a_fresh_trace() {
        for odd in [
            "",
            "x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-äf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let fresh = traceparent_child(Some(odd));
            assert!(valid(&fresh).is_some(), "{odd} gave {fresh}");
            assert!(
                !fresh.contains("0af7651916cd43dd8448eb211c80319c"),
                "{odd} gave {fresh}"
            );
        }
        assert!(valid(&traceparent_child(None)).is_some());
    }

    /// What `events` write to the log.
    fn logged(log_format: LogFormat, filter: &str, events: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Written(Arc::clone(&written));
        let args = LogArgs {
            log_format,
            log: filter.to_owned(),
        };
        tracing::subscriber::with_default(log(&args, move || writer.clone()).unwrap(), events);
        let bytes = written.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[derive(Clone)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bodies_and_values_stay_out_of_the_log_whatever_is_asked_for() {
        let everything = "trace,lapin=trace,lapin::returned_messages=trace,sea_orm=trace";
        let text = logged(LogFormat::Text, everything, || {
            tracing::warn!(target: "lapin::returned_messages", "a body");
            tracing::trace!(target: "lapin::io_loop", "a body");
            tracing::debug!(target: "sqlx::query", "a value");
            tracing::trace!(target: "sea_orm::database", "a value");
            tracing::debug!(target: "hyper_util::client", "a value");
            tracing::trace!(target: "rustls::conn", "a value");
            tracing::warn!(target: "sqlx_postgres::options::parse", "a value");
            tracing::warn!(target: "sqlx_postgres::options::pgpass", "a value");
            tracing::error!(target: "lapin::channel", "a closed channel");
            tracing::trace!(target: "sync_worker", "a step");
        });
        assert!(
            !text.contains("a body") && !text.contains("a value"),
            "{text}"
        );
        assert!(
            text.contains("a closed channel") && text.contains("a step"),
            "{text}"
        );
    }

    #[test]
    fn a_json_line_has_its_fields_on_top() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(rev = 7, "pushed")
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["message"], &line["rev"]),
            (&"pushed".into(), &7.into())
        );
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let args = LogArgs {
            log_format: LogFormat::Text,
            log: "sync_worker=loud".to_owned(),
        };
        let error = log(&args, std::io::stderr).err().unwrap();
        assert!(error.to_string().contains("LOG"), "{error:#}");
    }

    #[test]
    fn metrics_are_installed_once_and_every_caller_gets_them() {
        let (first, second) = (metrics().unwrap(), metrics().unwrap());
        metrics::counter!("things_total").increment(3);
        metrics::histogram!("thing_seconds").record(0.2);
        assert!(
            first.render().contains("things_total 3"),
            "{}",
            first.render()
        );
        assert!(
            second
                .render()
                .contains("thing_seconds_bucket{le=\"0.25\"} 1")
        );
    }
}
