//! What the reads of Stripe cost this month, and will have cost at its end.

use chrono::{DateTime, Utc};
use entity::stripe_read::{self, Kind, Model, Settings};
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Serialize;

/// Reads of Stripe by this installation, this month of UTC; up to a minute late.
#[derive(Object, Serialize)]
#[oai(example)]
pub(super) struct Reads {
    /// As in 2026-11.
    month: String,
    /// STRIPE_READ_BUDGET; null if there is none.
    #[oai(nullable)]
    budget: Option<i64>,
    used: i64,
    /// What will have been used at the end of the month with the present settings.
    projected: i64,
    used_by_kind: ByKind,
    /// What is wrong and what to do, if more will be used than the budget allows.
    #[oai(nullable)]
    warning: Option<String>,
}

/// What was read.
#[derive(Object, Serialize)]
#[oai(example)]
struct ByKind {
    /// Polls of the events.
    events: i64,
    /// Pages of full passes.
    list: i64,
    /// Single customers.
    retrieve: i64,
    /// Single customers, before an update of them.
    precheck: i64,
    /// Lists by e-mail or time before a push.
    lookup: i64,
    /// Whose key it is.
    account: i64,
    other: i64,
}

impl Reads {
    pub(super) fn of(month: &[Model], settings: &Settings, now: DateTime<Utc>) -> Self {
        let forecast = stripe_read::forecast(month, settings, now);
        let of = |kind: Kind| {
            let row = month.iter().find(|row| row.kind == kind.as_str());
            row.map_or(0, |row| row.count)
        };
        Self {
            month: stripe_read::month(now),
            budget: settings.budget,
            used: forecast.used,
            projected: forecast.projected,
            used_by_kind: ByKind {
                events: of(Kind::Events),
                list: of(Kind::List),
                retrieve: of(Kind::Retrieve),
                precheck: of(Kind::Precheck),
                lookup: of(Kind::Lookup),
                account: of(Kind::Account),
                other: of(Kind::Other),
            },
            warning: stripe_read::warning(forecast, settings.budget),
        }
    }
}

impl Example for Reads {
    fn example() -> Self {
        Self {
            month: "2026-11".to_owned(),
            budget: Some(50_000),
            used: 21_940,
            projected: 30_420,
            used_by_kind: ByKind::example(),
            warning: None,
        }
    }
}

impl Example for ByKind {
    fn example() -> Self {
        Self {
            events: 3_310,
            list: 18_000,
            retrieve: 460,
            precheck: 60,
            lookup: 80,
            account: 25,
            other: 5,
        }
    }
}
