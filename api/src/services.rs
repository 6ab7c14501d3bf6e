//! The relays and workers of the installation, as their heartbeats record them.

use chrono::{DateTime, SecondsFormat, Utc};
use platform::clock::Clock;
use platform::database;
use platform::heartbeat::{self, Model, Problem, Role};
use sea_orm::{ConnectionTrait, DbErr};

/// All of them, at one time of the database's clock.
pub(crate) struct Services {
    pub(crate) relays: Group,
    pub(crate) workers: Group,
    pub(crate) now: DateTime<Utc>,
}

/// The processes of one role.
pub(crate) struct Group {
    /// One of them, in a sentence.
    name: &'static str,
    /// The program.
    program: &'static str,
    alive: Vec<Model>,
    /// When the last one was alive that is not any more.
    last_alive_at: Option<DateTime<Utc>>,
}

/// Longer than a few problems, and short enough for a page.
const LONGEST: usize = 600;

impl Services {
    pub(crate) async fn read(db: &impl ConnectionTrait, clock: &Clock) -> Result<Self, DbErr> {
        let relays = heartbeat::of_role(db, Role::Relay).await?;
        let workers = heartbeat::of_role(db, Role::Worker).await?;
        let now = database::now(db, clock).await?;
        Ok(Self::of(relays, workers, now))
    }

    pub(crate) fn of(relays: Vec<Model>, workers: Vec<Model>, now: DateTime<Utc>) -> Self {
        Self {
            relays: Group::new(("relay", "outbox-relay"), relays, now),
            workers: Group::new(("worker", "sync-worker"), workers, now),
            now,
        }
    }
}

impl Group {
    fn new(
        (name, program): (&'static str, &'static str),
        processes: Vec<Model>,
        now: DateTime<Utc>,
    ) -> Self {
        let (alive, gone): (Vec<_>, Vec<_>) = processes
            .into_iter()
            .partition(|process| process.is_alive(now));
        Self {
            name,
            program,
            alive,
            last_alive_at: gone.iter().map(Model::last_alive_at).max(),
        }
    }

    pub(crate) fn alive(&self) -> &[Model] {
        &self.alive
    }

    /// The last heartbeat, or the end of the last process.
    pub(crate) fn last_alive_at(&self) -> Option<DateTime<Utc>> {
        let seen = self.alive.iter().map(|process| process.seen_at).max();
        seen.or(self.last_alive_at)
    }

    /// What the living processes report, each problem once.
    pub(crate) fn problems(&self) -> Vec<&Problem> {
        let mut problems: Vec<&Problem> = Vec::new();
        for problem in self.alive.iter().flat_map(Model::problems) {
            let is_known = |known: &&Problem| {
                known.component == problem.component && known.detail == problem.detail
            };
            if !problems.iter().any(is_known) {
                problems.push(problem);
            }
        }
        problems
    }

    /// That none of them is alive, with the next step.
    pub(crate) fn absence(&self) -> Option<String> {
        if !self.alive.is_empty() {
            return None;
        }
        let Self { name, program, .. } = self;
        Some(match self.last_alive_at {
            Some(at) => format!("no {name} is alive since {}: start {program}", time(at)),
            None => format!("no {name} has run on this database yet: start {program}"),
        })
    }

    /// What is wrong, in a line; none if one is alive and none reports a problem.
    pub(crate) fn problem(&self) -> Option<String> {
        if let Some(absence) = self.absence() {
            return Some(absence);
        }
        let problems = self.problems().into_iter();
        let texts: Vec<String> = problems
            .map(|one| {
                let since = time(one.since);
                format!("{} since {since}: {}", one.component, one.detail)
            })
            .collect();
        let mut text = texts.join("; ");
        if let Some((end, _)) = text.char_indices().nth(LONGEST) {
            text.truncate(end);
            text.push('…');
        }
        (!text.is_empty()).then_some(text)
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use platform::heartbeat::Report;
    use uuid::Uuid;

    use super::*;

    fn worker(seen: i64, problems: &[(&str, &str)]) -> Model {
        let at = DateTime::from_timestamp(seen, 0).unwrap();
        let problems = problems.iter().map(|(component, detail)| Problem {
            component: (*component).to_owned(),
            code: None,
            detail: (*detail).to_owned(),
            since: at,
            next_attempt_at: None,
        });
        Model {
            id: Uuid::new_v4(),
            started_at: at,
            seen_at: at,
            role: Role::Worker,
            report: Some(Report {
                problems: problems.collect(),
            }),
            stopped_at: None,
        }
    }

    fn problem(processes: Vec<Model>) -> Option<String> {
        let now = DateTime::from_timestamp(100, 0).unwrap();
        Group::new(("worker", "sync-worker"), processes, now).problem()
    }

    #[test]
    fn group_without_living_process_says_since_when() {
        let text = problem(Vec::new()).unwrap();
        assert_eq!(
            text,
            "no worker has run on this database yet: start sync-worker"
        );
        let text = problem(vec![worker(60, &[]), worker(70, &[])]).unwrap();
        assert_eq!(
            text,
            "no worker is alive since 1970-01-01T00:01:10Z: start sync-worker"
        );
    }

    #[test]
    fn group_reports_problems_of_living_processes_once() {
        assert_eq!(problem(vec![worker(99, &[]), worker(1, &[])]), None);
        let old = worker(1, &[("upsync", "refused")]);
        assert_eq!(problem(vec![worker(99, &[]), old]), None);
        let one = worker(99, &[("upsync", "refused")]);
        let other = worker(99, &[("upsync", "refused"), ("scan", "away")]);
        assert_eq!(
            problem(vec![one, other]).unwrap(),
            "upsync since 1970-01-01T00:01:39Z: refused; scan since 1970-01-01T00:01:39Z: away"
        );
        let long = "é".repeat(2 * LONGEST);
        let text = problem(vec![worker(99, &[("upsync", &long)])]).unwrap();
        assert_eq!(text.chars().count(), LONGEST + 1);
    }
}
