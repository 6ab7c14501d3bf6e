//! The table that a run ends with.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Findings;
use crate::evidence::Evidence;
use crate::history::{Actor, Op, Outcome};

/// Sentences that are printed of each kind; the others are only counted.
const SHOWN: usize = 10;

pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) load: Duration,
    pub(crate) settled: Duration,
    /// Programs that ended by themselves and were started again.
    pub(crate) deaths: u32,
}

pub(crate) fn report(run: &Run, evidence: &Evidence, findings: &Findings) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<34}{value}");
    };
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    line("seed", run.seed.to_string());
    line("load", seconds(run.load));
    line("healed, then settled in", seconds(run.settled));
    for (name, actor) in [
        ("writes to the API", Actor::Client),
        ("edits in Stripe", Actor::Person),
    ] {
        let ops = evidence.ops.iter().filter(|op| op.actor == actor);
        line(name, counts(ops.collect()));
    }
    let living = evidence
        .rows
        .iter()
        .filter(|row| !row.state.deleted)
        .count();
    let rows = evidence.rows.len();
    line("customers", format!("{rows}, of them {living} living"));
    line(
        "told to a consumer of its own",
        evidence.told.len().to_string(),
    );
    let calls = evidence
        .requests
        .iter()
        .filter(|it| it.method != "GET")
        .count();
    line(
        "requests to Stripe",
        format!("{}, of them {calls} that write", evidence.requests.len()),
    );
    line(
        "conflicts written down",
        evidence.conflicts.len().to_string(),
    );
    let parked = evidence.rows.iter().filter(|row| row.parked).count();
    line("parked", parked.to_string());
    line("programs that ended by themselves", run.deaths.to_string());
    line("faults", evidence.faults.len().to_string());
    let mut faults: BTreeMap<_, usize> = BTreeMap::new();
    for fault in &evidence.faults {
        *faults.entry(fault.kind).or_default() += 1;
    }
    for (kind, count) in faults {
        line(&format!("  {kind}"), count.to_string());
    }
    for (name, cases) in findings.all() {
        line(name, cases.len().to_string());
    }
    for (name, cases) in findings.all() {
        for case in cases.iter().take(SHOWN) {
            let _ = writeln!(text, "{name}: {case}");
        }
    }
    text
}

fn counts(ops: Vec<&Op>) -> String {
    let count = |wanted: fn(&Outcome) -> bool| ops.iter().filter(|op| wanted(&op.outcome)).count();
    format!(
        "{}: {} acknowledged, {} refused, {} unknown",
        ops.len(),
        count(|it| matches!(it, Outcome::Acked(_))),
        count(|it| *it == Outcome::Refused),
        count(|it| *it == Outcome::Unknown),
    )
}
