//! The inbox of Stripe's events, polled or sent to the webhook. The id is the key, so duplicates end
//! here; an event says "read this customer again" and nothing more.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stripe_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub kind: String,
    pub stripe_id: String,
    /// Unix seconds. Never used as an order.
    pub created: i64,
    /// The customer as the event showed it ([`crate::message::StripeCopy`]): enough to see that it is
    /// the echo of a write of ours, and never applied.
    pub copy: Option<Json>,
    pub received_at: DateTimeUtc,
    pub processed_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
