//! How often Stripe was read, month by month and kind by kind, and whether a month will cost more than it may.
//!
//! Stripe grants reads in proportion to the payments of an account. The counts are those of our own requests, added up
//! once a minute by every worker; what other programs read is not in them.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::DatabaseTransaction;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};

use crate::downsync_state;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stripe_read")]
pub struct Model {
    /// As in 2026-11, of UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub month: String,
    /// A [`Kind`].
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    pub count: i64,
    /// When the first of the month was counted.
    pub first_at: DateTimeUtc,
    /// When the last one was.
    pub last_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Polls of the events.
    Events,
    /// Pages of a full pass.
    List,
    /// A customer, again.
    Retrieve,
    /// A customer, before an update of it.
    Precheck,
    /// Lists by e-mail or time, before a push.
    Lookup,
    /// Whose key it is.
    Account,
    Other,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Events,
        Self::List,
        Self::Retrieve,
        Self::Precheck,
        Self::Lookup,
        Self::Account,
        Self::Other,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::List => "list",
            Self::Retrieve => "retrieve",
            Self::Precheck => "precheck",
            Self::Lookup => "lookup",
            Self::Account => "account",
            Self::Other => "other",
        }
    }
}

/// Adds to the counts of the month. In a transaction, so that all of it is counted or none.
pub async fn add(
    tx: &DatabaseTransaction,
    counts: &[(Kind, u64)],
    now: DateTimeUtc,
) -> Result<(), DbErr> {
    for (kind, count) in counts {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        let row = ActiveModel {
            month: Set(month(now)),
            kind: Set(kind.as_str().to_owned()),
            count: Set(count),
            first_at: Set(now),
            last_at: Set(now),
        };
        let sum = Expr::col((Entity, Column::Count)).add(count);
        let known = OnConflict::columns([Column::Month, Column::Kind])
            .value(Column::Count, sum)
            .update_column(Column::LastAt)
            .to_owned();
        Entity::insert(row)
            .on_conflict(known)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

/// The counts of the month of `now`.
pub async fn of_month(db: &impl ConnectionTrait, now: DateTimeUtc) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Month.eq(month(now)))
        .all(db)
        .await
}

/// As in 2026-11.
pub fn month(at: DateTimeUtc) -> String {
    at.format("%Y-%m").to_string()
}

/// The settings that reads follow from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub poll_interval: Option<Duration>,
    pub full_pass_interval: Option<Duration>,
    /// Pages of the last complete pass.
    pub pages: Option<u64>,
    /// Reads that a month may cost.
    pub budget: Option<i64>,
}

impl Settings {
    /// Those that the scanner at work has stored.
    pub fn of(state: &downsync_state::Model) -> Self {
        let interval = |ms: Option<i64>| {
            let ms = ms.and_then(|ms| u64::try_from(ms).ok());
            ms.filter(|ms| *ms > 0).map(Duration::from_millis)
        };
        let pages = state
            .pass_counts
            .as_ref()
            .and_then(|counts| counts.get("pages")?.as_u64());
        Self {
            poll_interval: interval(state.poll_interval_ms),
            full_pass_interval: interval(state.full_pass_interval_ms),
            pages,
            budget: state.read_budget,
        }
    }

    /// Reads a second that the settings ask for, whatever happens.
    fn rate(&self, kind: &str) -> Option<f64> {
        if kind == Kind::Events.as_str() {
            return Some(1.0 / self.poll_interval?.as_secs_f64());
        }
        if kind == Kind::List.as_str() {
            return Some(self.pages? as f64 / self.full_pass_interval?.as_secs_f64());
        }
        None
    }
}

/// What a month has cost and will cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub used: i64,
    /// At the end of the month, if it goes on like this.
    pub projected: i64,
}

/// The first hours, in which everything is compared and matched, say little about the rest of a month.
const LEAST_SECONDS: f64 = 24.0 * 3600.0;

/// Polls and passes go on as they are set now; everything else as it went this month, from when it was first counted.
/// Pure.
pub fn forecast(rows: &[Model], settings: &Settings, now: DateTime<Utc>) -> Forecast {
    let rest = (end_of_month(now) - now).as_seconds_f64().max(0.0);
    let mut used = 0;
    let mut more = 0.0;
    for kind in Kind::ALL.map(Kind::as_str) {
        let row = rows.iter().find(|row| row.kind == kind);
        let count = row.map_or(0, |row| row.count);
        used += count;
        let observed = row.map_or(0.0, |row| {
            let seconds = (now - row.first_at).as_seconds_f64().max(LEAST_SECONDS);
            count as f64 / seconds
        });
        more += rest * settings.rate(kind).unwrap_or(observed);
    }
    Forecast {
        used,
        projected: used.saturating_add(more.round() as i64),
    }
}

/// What is wrong with a month, for a person; none while it fits, or where there is no budget.
pub fn warning(forecast: Forecast, budget: Option<i64>) -> Option<String> {
    let budget = budget?;
    let Forecast { used, projected } = forecast;
    let cure = "raise DOWNSYNC_INTERVAL or FULL_PASS_INTERVAL, or register a webhook, which slows the polls down";
    if used > budget {
        return Some(format!(
            "Stripe was read {used} times this month and STRIPE_READ_BUDGET is {budget}; it goes on, and Stripe may \
             refuse reads: {cure}"
        ));
    }
    (projected > budget).then(|| {
        format!(
            "Stripe was read {used} times this month and will have been about {projected} times at its end, more than \
             STRIPE_READ_BUDGET, which is {budget}: {cure}"
        )
    })
}

fn end_of_month(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now.date_naive().with_day(1).unwrap_or(now.date_naive());
    let next = first.checked_add_months(Months::new(1)).unwrap_or(first);
    next.and_time(chrono::NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn row(kind: Kind, count: i64, first_at: &str) -> Model {
        Model {
            month: "2026-11".to_owned(),
            kind: kind.as_str().to_owned(),
            count,
            first_at: at(first_at),
            last_at: at(first_at),
        }
    }

    #[test]
    fn polls_and_passes_are_projected_by_their_settings_and_the_rest_by_what_was() {
        // Ten days are left.
        let now = at("2026-11-21T00:00:00Z");
        let settings = Settings {
            poll_interval: Some(Duration::from_secs(600)),
            full_pass_interval: Some(DAY),
            pages: Some(30),
            budget: None,
        };
        let rows = [
            // From the time before the polls slowed down: it says nothing of what comes.
            row(Kind::Events, 100_000, "2026-11-01T00:00:00Z"),
            row(Kind::Retrieve, 50, "2026-11-16T00:00:00Z"),
        ];
        let expected = Forecast {
            used: 100_050,
            projected: 100_050 + 10 * 144 + 10 * 30 + 10 * 10,
        };
        assert_eq!(forecast(&rows, &settings, now), expected);
    }

    #[test]
    fn settings_that_are_not_known_are_made_good_by_what_was() {
        let now = at("2026-12-31T23:00:00Z");
        let mut rows = [row(Kind::List, 480, "2026-12-29T23:00:00Z")];
        let found = forecast(&rows, &Settings::default(), now);
        assert_eq!((found.used, found.projected), (480, 490));
        // The first minute is not taken for a rule.
        rows[0].first_at = now;
        assert_eq!(forecast(&rows, &Settings::default(), now).projected, 500);
    }

    #[test]
    fn the_warning_comes_before_the_budget_is_overdrawn_and_changes_when_it_is() {
        let of = |used, projected| warning(Forecast { used, projected }, Some(10_000));
        assert_eq!(of(9_000, 10_000), None);
        assert!(of(9_000, 10_001).unwrap().contains("about 10001 times"));
        assert!(of(10_001, 20_000).unwrap().contains("it goes on"));
        let lots = Forecast {
            used: i64::MAX,
            projected: i64::MAX,
        };
        assert_eq!(warning(lots, None), None);
    }

    #[test]
    fn a_month_ends_where_the_next_one_begins() {
        for (now, end) in [
            ("2026-11-23T01:00:00Z", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            assert_eq!(end_of_month(at(now)), at(end));
        }
    }
}
