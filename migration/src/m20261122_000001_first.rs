//! The first schema: customers, the outbox, the link to Stripe, and what downsync remembers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, json_binary_null, pk_uuid, text, text_null,
    timestamp_with_time_zone as time, timestamp_with_time_zone_null as time_null, uuid, uuid_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261122_000001_first"
    }
}

const TABLES: [&str; 9] = [
    "customer",
    "outbox",
    "stripe_link",
    "stripe_event",
    "conflict",
    "unmatched",
    "api_idempotency",
    "downsync_state",
    "lease",
];

/// Indexes with a condition, spelt the same in both databases.
const PARTIAL_INDEXES: [&str; 5] = [
    // A tombstone keeps its address without standing in the way of a new customer.
    "CREATE UNIQUE INDEX customer_email_key ON customer (email_key) WHERE deleted_at IS NULL",
    "CREATE INDEX stripe_link_next_attempt ON stripe_link (next_attempt_at) WHERE next_attempt_at IS NOT NULL",
    "CREATE INDEX stripe_link_recheck ON stripe_link (recheck_at) WHERE recheck_at IS NOT NULL",
    "CREATE INDEX stripe_link_parked ON stripe_link (parked_at) WHERE parked_at IS NOT NULL",
    "CREATE INDEX stripe_event_unprocessed ON stripe_event (received_at) WHERE processed_at IS NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            customer(),
            outbox(),
            stripe_link(),
            stripe_event(),
            conflict(),
            unmatched(),
            api_idempotency(),
            downsync_state(),
            lease(),
        ] {
            manager.create_table(table).await?;
        }
        for index in [
            // The newest first is how lists are read; the id settles equal times.
            index("customer_created", "customer", &["created_at", "id"]).to_owned(),
            index("outbox_customer_rev", "outbox", &["customer_id", "rev"])
                .unique()
                .to_owned(),
            index("stripe_link_stripe_id", "stripe_link", &["stripe_id"])
                .unique()
                .to_owned(),
            // For forgetting the old ones.
            index(
                "api_idempotency_created",
                "api_idempotency",
                &["created_at"],
            )
            .to_owned(),
            index("conflict_customer", "conflict", &["customer_id"]).to_owned(),
        ] {
            manager.create_index(index).await?;
        }
        for index in PARTIAL_INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            let drop = Table::drop().table(Alias::new(table)).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}

fn table(name: &str) -> TableCreateStatement {
    Table::create().table(Alias::new(name)).to_owned()
}

fn index(name: &str, table: &str, columns: &[&str]) -> IndexCreateStatement {
    let mut index = Index::create()
        .name(name)
        .table(Alias::new(table))
        .to_owned();
    for column in columns {
        index.col(Alias::new(*column));
    }
    index
}

fn to_customer(from: &str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{from}_customer_id"))
        .from(Alias::new(from), Alias::new("customer_id"))
        .to(Alias::new("customer"), Alias::new("id"))
        .to_owned()
}

fn text_key(name: &str) -> ColumnDef {
    text(Alias::new(name)).primary_key().take()
}

fn customer() -> TableCreateStatement {
    table("customer")
        .col(pk_uuid("id"))
        .col(text("email"))
        .col(text("email_key"))
        .col(text_null("name"))
        .col(text_null("phone"))
        .col(text_null("description"))
        .col(big_integer("rev"))
        .col(time_null("deleted_at"))
        .col(time("created_at"))
        .col(time("updated_at"))
        .to_owned()
}

/// No foreign key: the check would cost every write a lookup, and a row can only be written together
/// with its customer.
fn outbox() -> TableCreateStatement {
    table("outbox")
        .col(
            ColumnDef::new("id")
                .big_integer()
                .not_null()
                .auto_increment()
                .primary_key(),
        )
        .col(uuid("customer_id"))
        .col(big_integer("rev"))
        .col(text("kind"))
        .col(ColumnDef::new("payload").json_binary().not_null())
        .col(text_null("traceparent"))
        .col(time("created_at"))
        .to_owned()
}

fn stripe_link() -> TableCreateStatement {
    table("stripe_link")
        .col(pk_uuid("customer_id"))
        .col(text_null("stripe_id"))
        .col(json_binary_null("base"))
        .col(big_integer("synced_rev"))
        .col(big_integer("pushed_rev"))
        .col(text_null("request_body"))
        .col(uuid_null("request_key"))
        .col(time_null("request_started_at"))
        .col(big_integer_null("push_rev"))
        .col(uuid_null("push_token"))
        .col(time_null("push_started_at"))
        .col(time_null("acked_at"))
        .col(time_null("observed_at"))
        .col(integer("attempts"))
        .col(time_null("next_attempt_at"))
        .col(time_null("recheck_at"))
        .col(text_null("parked_reason"))
        .col(text_null("parked_detail"))
        .col(big_integer_null("parked_rev"))
        .col(text_null("parked_request_id"))
        .col(time_null("parked_at"))
        .col(time_null("detached_at"))
        .col(time("created_at"))
        .col(time("updated_at"))
        .foreign_key(&mut to_customer("stripe_link"))
        .to_owned()
}

fn stripe_event() -> TableCreateStatement {
    table("stripe_event")
        .col(text_key("id"))
        .col(text("kind"))
        .col(text("stripe_id"))
        .col(big_integer("created"))
        .col(json_binary_null("copy"))
        .col(time("received_at"))
        .col(time_null("processed_at"))
        .to_owned()
}

fn conflict() -> TableCreateStatement {
    table("conflict")
        .col(pk_uuid("id"))
        .col(uuid("customer_id"))
        .col(text("field"))
        .col(text_null("base"))
        .col(text_null("database_value"))
        .col(text_null("stripe_value"))
        .col(text("winner"))
        .col(time("created_at"))
        .col(time_null("resolved_at"))
        .foreign_key(&mut to_customer("conflict"))
        .to_owned()
}

fn unmatched() -> TableCreateStatement {
    table("unmatched")
        .col(text_key("stripe_id"))
        .col(text("reason"))
        .col(text_null("email"))
        .col(uuid_null("customer_id"))
        .col(time("created_at"))
        .to_owned()
}

fn api_idempotency() -> TableCreateStatement {
    table("api_idempotency")
        .col(text_key("key"))
        .col(text("request_digest"))
        .col(integer("status"))
        .col(text("body"))
        .col(text_null("etag"))
        .col(text_null("location"))
        .col(time("created_at"))
        .to_owned()
}

fn downsync_state() -> TableCreateStatement {
    table("downsync_state")
        .col(ColumnDef::new("id").integer().not_null().primary_key())
        .col(text_null("account_id"))
        .col(big_integer_null("events_cursor"))
        .col(time_null("pass_started_at"))
        .col(time_null("pass_completed_at"))
        .col(json_binary_null("pass_counts"))
        .col(text_null("refused"))
        .col(time("updated_at"))
        .to_owned()
}

fn lease() -> TableCreateStatement {
    table("lease")
        .col(text_key("name"))
        .col(text("owner"))
        .col(big_integer("epoch"))
        .col(time("expires_at"))
        .to_owned()
}
