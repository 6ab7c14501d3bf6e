//! Which relays and workers are alive, and what they report as wrong.

use chrono::{DateTime, Utc};
use platform::heartbeat::Problem;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;

use super::{number, some_time};
use crate::services::{Group, Services};

/// The processes of this installation, by their heartbeats.
#[derive(Object, Serialize)]
#[oai(rename = "Services", example)]
pub(super) struct ServicesState {
    relays: ServiceState,
    workers: ServiceState,
}

/// The processes of one kind.
#[derive(Object, Serialize)]
#[oai(rename = "Service", example)]
struct ServiceState {
    /// Processes with a heartbeat in the last 20 seconds.
    alive: i64,
    /// The last heartbeat of any of them, alive or not; null if there was none yet.
    #[oai(nullable)]
    last_heartbeat_at: Option<DateTime<Utc>>,
    /// What the living ones report, each problem once.
    problems: Vec<ServiceProblem>,
}

/// A problem that a process reports.
#[derive(Object, Serialize)]
#[oai(example)]
struct ServiceProblem {
    /// The part of the process, as its /health/ready names it.
    component: String,
    /// A stable word for it, where there is one.
    #[oai(nullable)]
    code: Option<String>,
    detail: String,
    since: DateTime<Utc>,
    #[oai(nullable)]
    next_attempt_at: Option<DateTime<Utc>>,
}

impl ServicesState {
    pub(super) fn of(services: &Services) -> Self {
        Self {
            relays: ServiceState::of(&services.relays),
            workers: ServiceState::of(&services.workers),
        }
    }
}

impl ServiceState {
    fn of(group: &Group) -> Self {
        Self {
            alive: number(group.alive().len() as u64),
            last_heartbeat_at: group.last_alive_at(),
            problems: group.problems().into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&Problem> for ServiceProblem {
    fn from(problem: &Problem) -> Self {
        let problem = problem.clone();
        Self {
            component: problem.component,
            code: problem.code,
            detail: problem.detail,
            since: problem.since,
            next_attempt_at: problem.next_attempt_at,
        }
    }
}

impl Example for ServicesState {
    fn example() -> Self {
        Self {
            relays: ServiceState {
                problems: Vec::new(),
                ..ServiceState::example()
            },
            workers: ServiceState::example(),
        }
    }
}

impl Example for ServiceState {
    fn example() -> Self {
        Self {
            alive: 1,
            last_heartbeat_at: Some(some_time()),
            problems: vec![ServiceProblem::example()],
        }
    }
}

impl Example for ServiceProblem {
    fn example() -> Self {
        Self {
            component: "upsync".to_owned(),
            code: Some("key_refused".to_owned()),
            detail: "Stripe refuses STRIPE_SECRET_KEY; set a key that is valid".to_owned(),
            since: some_time(),
            next_attempt_at: Some(some_time()),
        }
    }
}
