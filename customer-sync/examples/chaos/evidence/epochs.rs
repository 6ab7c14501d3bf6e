//! Epochs: a database that was restored from a dump hands out revisions again, so they are compared within the time
//! between two restores only. Each is raised by its epoch: rev 7 after the first restore becomes 1000000007.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::Context;
use uuid::Uuid;

use super::Evidence;
use super::tap::Received;
use crate::history::State;

/// More than any customer has revisions.
const LENGTH: i64 = 1_000_000_000;

/// The raised revisions of an epoch.
pub(crate) fn revs(epoch: usize) -> Range<i64> {
    raised(0, epoch)..raised(LENGTH, epoch)
}

pub(crate) fn of(raised: i64) -> usize {
    usize::try_from(raised / LENGTH).unwrap_or_default()
}

/// As the database counts it.
pub(crate) fn plain(raised: i64) -> i64 {
    raised % LENGTH
}

pub(crate) fn raised(rev: i64, epoch: usize) -> i64 {
    rev + LENGTH * i64::try_from(epoch).unwrap_or_default()
}

/// Raises every rev of the evidence, and adds what was received.
///
/// # Errors
/// A message has a source that the database never had.
pub(crate) fn raise(
    evidence: &mut Evidence,
    received: Received,
    last_source: Option<Uuid>,
) -> anyhow::Result<()> {
    let restores = &evidence.restores;
    let sources = restores.iter().map(|restore| restore.source);
    let sources: Vec<_> = sources.chain([last_source]).collect();
    // An epoch without a relay has the source of the one before, and no messages.
    let epoch_of = |source: Uuid| {
        let epoch = sources.iter().position(|it| *it == Some(source));
        epoch.with_context(|| format!("no database had the source {source}"))
    };
    for (source, id, rev) in received.heard {
        let epoch = epoch_of(source)?;
        evidence.heard.push((id, raised(rev, epoch)));
    }
    let rows = restores.iter().map(|restore| restore.rows.iter());
    let kept: Vec<HashMap<_, _>> = rows
        .map(|rows| rows.map(|row| (row.id, row.rev)).collect())
        .collect();
    // What the dump held already is of an earlier epoch, also if it is told after the restore.
    let raise = |state: &mut State, mut epoch: usize| {
        let is_kept = |epoch: usize| kept[epoch - 1].get(&state.id) >= Some(&state.rev);
        while epoch > 0 && is_kept(epoch) {
            epoch -= 1;
        }
        state.rev = raised(state.rev, epoch);
    };
    for (source, mut state) in received.told {
        raise(&mut state, epoch_of(source)?);
        evidence.told.push(state);
    }
    let times: Vec<_> = restores.iter().map(|restore| restore.restored).collect();
    for op in &mut evidence.ops {
        let epoch = times.iter().filter(|time| **time <= op.start).count();
        if let Some(state) = op.state_mut() {
            raise(state, epoch);
        }
    }
    for (before, restore) in evidence.restores.iter_mut().enumerate() {
        for state in &mut restore.rows {
            state.rev = raised(state.rev, before + 1);
        }
    }
    for row in &mut evidence.rows {
        raise(&mut row.state, times.len());
    }
    Ok(())
}
