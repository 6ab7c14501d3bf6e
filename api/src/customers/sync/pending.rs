//! Why a customer is not in Stripe yet, from what the relays and workers have recorded in the database.

use chrono::{DateTime, Utc};
use entity::timeline::{self, Step};
use entity::{customer, outbox, stripe_link};
use platform::clock::Clock;
use platform::heartbeat::Problem;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::services::{Group, Services};

mod step;

/// The components of a worker and a relay whose problems keep customers back, as their heartbeats name them.
const UPSYNC: &str = "upsync";
const RELAY: &[&str] = &["relay", "relay broker", "relay database"];

/// More failures in a row than a timeline notes in a year.
const FAILURES: u64 = 40;

/// Why, since when, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// A stable word.
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) since: DateTime<Utc>,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) next_step: &'static str,
}

/// What the database holds about it.
struct Facts<'a> {
    row: &'a customer::Model,
    link: Option<&'a stripe_link::Model>,
    /// When the change was written that the relay has not published yet.
    in_outbox_since: Option<DateTime<Utc>>,
    failures: Option<Failures>,
    services: Services,
}

/// The failed attempts at this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failures {
    first_at: DateTime<Utc>,
    /// The code of the last one that was noted.
    code: String,
}

/// Reads what there is to say of a pending customer.
pub(super) async fn explain(
    db: &impl ConnectionTrait,
    clock: &Clock,
    (row, link): (&customer::Model, Option<&stripe_link::Model>),
) -> Result<Pending, DbErr> {
    let in_outbox_since = outbox::Entity::find()
        .select_only()
        .column(outbox::Column::CreatedAt)
        .filter(outbox::Column::CustomerId.eq(row.id))
        .order_by_asc(outbox::Column::Id)
        .limit(1)
        .into_tuple()
        .one(db)
        .await?;
    let facts = Facts {
        row,
        link,
        in_outbox_since,
        failures: failures(db, row).await?,
        services: Services::read(db, clock).await?,
    };
    Ok(facts.explain())
}

async fn failures(
    db: &impl ConnectionTrait,
    row: &customer::Model,
) -> Result<Option<Failures>, DbErr> {
    let outcomes = timeline::Entity::find()
        .filter(timeline::Column::CustomerId.eq(row.id))
        .filter(timeline::Column::Step.eq(Step::Outcome))
        .filter(timeline::Column::Rev.eq(row.rev))
        .order_by_desc(timeline::Column::Id)
        .limit(FAILURES)
        .all(db)
        .await?;
    Ok(Failures::of(&outcomes))
}

impl Failures {
    /// Of the outcomes of a revision, the newest first: those since it was last parked, or since its first attempt.
    fn of(outcomes: &[timeline::Model]) -> Option<Self> {
        let failed = outcomes
            .iter()
            .take_while(|outcome| outcome.detail.result.as_deref() == Some("later"));
        let failed: Vec<_> = failed.collect();
        let code = failed.iter().find_map(|one| one.detail.reason.clone())?;
        let first_at = failed.last()?.at;
        Some(Self { first_at, code })
    }
}

impl Facts<'_> {
    /// The obstacle that is to be removed first; the details of the others follow its own.
    fn explain(&self) -> Pending {
        let mut obstacles = Vec::new();
        if self.in_outbox_since.is_some() {
            obstacles.extend(self.absence("no_live_relay", &self.services.relays));
        }
        obstacles.extend(self.absence("no_live_worker", &self.services.workers));
        obstacles.extend(self.breaker());
        if self.in_outbox_since.is_some() {
            obstacles.extend(self.relay_problem());
        }
        obstacles.extend(self.consumer_problem());
        obstacles.extend(self.failure());
        let mut obstacles = obstacles.into_iter();
        let Some(mut first) = obstacles.next() else {
            return self.on_its_way();
        };
        for other in obstacles {
            first.detail = format!("{}; {}", first.detail, other.detail);
        }
        first
    }

    fn absence(&self, reason: &str, group: &Group) -> Option<Pending> {
        Some(Pending {
            reason: reason.to_owned(),
            detail: group.absence()?,
            since: group.last_alive_at().unwrap_or(self.row.updated_at),
            next_attempt_at: None,
            next_step: step::of(reason),
        })
    }

    /// As long as one worker pushes, the customer's turn comes.
    fn breaker(&self) -> Option<Pending> {
        let of_worker = |problems: &[Problem]| {
            let is_breaker = |one: &&Problem| one.component == UPSYNC && one.code.is_some();
            problems.iter().find(is_breaker).cloned()
        };
        let workers = self.services.workers.alive().iter();
        let open: Option<Vec<Problem>> =
            workers.map(|worker| of_worker(worker.problems())).collect();
        let problem = open?.into_iter().min_by_key(|one| one.next_attempt_at)?;
        let reason = problem.code.clone().unwrap_or_default();
        Some(Pending {
            next_step: step::of(&reason),
            ..self.reported(&reason, &problem)
        })
    }

    fn relay_problem(&self) -> Option<Pending> {
        let problems = self.services.relays.problems();
        let mut problems = problems.into_iter();
        let problem = problems.find(|one| RELAY.contains(&one.component.as_str()))?;
        Some(self.reported("broker_unavailable", problem))
    }

    fn consumer_problem(&self) -> Option<Pending> {
        let problems = self.services.workers.problems();
        let mut problems = problems.into_iter();
        let problem = problems.find(|one| one.component == UPSYNC && one.code.is_none())?;
        Some(self.reported("worker_problem", problem))
    }

    fn reported(&self, reason: &str, problem: &Problem) -> Pending {
        let now = self.services.now;
        Pending {
            reason: reason.to_owned(),
            detail: problem.detail.clone(),
            since: problem.since,
            // A heartbeat may be some seconds old.
            next_attempt_at: problem.next_attempt_at.map(|at| at.max(now)),
            next_step: step::of(reason),
        }
    }

    /// The attempts at this customer failed, and not for everyone.
    fn failure(&self) -> Option<Pending> {
        let next_attempt_at = self.link?.next_attempt_at;
        let Failures { first_at, code } = self.failures.clone()?;
        let reason = step::of_failure(&code);
        Some(Pending {
            reason: reason.to_owned(),
            detail: format!("the last attempt that was noted failed: {code}"),
            since: first_at,
            next_attempt_at,
            next_step: step::of(reason),
        })
    }

    fn on_its_way(&self) -> Pending {
        let push_started_at = self.link.and_then(|link| link.push_started_at);
        let (reason, detail, since) = match (push_started_at, self.in_outbox_since) {
            (Some(at), _) => ("sending", "a worker sends it to Stripe", at),
            (None, Some(at)) => ("publishing", "the relay publishes it to the worker", at),
            (None, None) => (
                "queued",
                "it waits for its turn at a worker, behind other customers or STRIPE_RATE",
                self.row.updated_at,
            ),
        };
        Pending {
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            since,
            next_attempt_at: self.link.and_then(|link| link.next_attempt_at),
            next_step: step::of(reason),
        }
    }
}

#[cfg(test)]
mod tests;
