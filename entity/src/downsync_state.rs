//! How far downsync has come: one row.

use sea_orm::entity::prelude::*;

/// The id of the only row.
pub const ID: i32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "downsync_state")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The account that this database belongs to. Another account's customers are never compared.
    pub account_id: Option<String>,
    /// The mode that it belongs to: `true` is live mode, `false` test mode.
    pub livemode: Option<bool>,
    /// Unix seconds: every event created before it is in the inbox.
    pub events_cursor: Option<i64>,
    /// When a poll last found that webhooks had brought the events before it; none since one found that they had not.
    pub webhooks_proven_at: Option<DateTimeUtc>,
    pub pass_started_at: Option<DateTimeUtc>,
    /// When the last COMPLETE pass ended.
    pub pass_completed_at: Option<DateTimeUtc>,
    /// What it counted.
    pub pass_counts: Option<Json>,
    /// How far a pass has come that is not complete; another one goes on from there.
    pub pass_progress: Option<Json>,
    /// Why the last pass was refused, for a person to look at.
    pub refused: Option<String>,
    /// How often the events are polled at present.
    pub poll_interval_ms: Option<i64>,
    /// How often every customer is compared.
    pub full_pass_interval_ms: Option<i64>,
    /// Reads of Stripe that a month may cost; none is none that is known.
    pub read_budget: Option<i64>,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
