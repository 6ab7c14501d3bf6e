//! `customer-sync export`: all living customers, in the order of their ids, page by page.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use chrono::SecondsFormat;
use entity::{customer, stripe_link};
use platform::database::{Database, within_bounds};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use uuid::Uuid;

use super::Ended;
use super::file::{Output, is_stdout};
use super::format::Format;
use super::interrupt::Interrupt;
use super::open;
use crate::arguments::Arguments;

const PAGE: u64 = 1_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where to; absent or -: stdout. A regular file is replaced, a link or device never. It is about people, and only its owner may read it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Absent: by the file's ending, or csv to stdout
    #[arg(long)]
    format: Option<Format>,
}

/// A customer as it is written.
#[derive(Serialize)]
struct Exported {
    email: String,
    name: Option<String>,
    phone: Option<String>,
    description: Option<String>,
    external_id: Option<String>,
    id: Uuid,
    stripe_id: Option<String>,
    rev: i64,
    updated_at: String,
}

/// The names of a csv file; of [`Exported`]'s members.
const NAMES: [&str; 9] = [
    "email",
    "name",
    "phone",
    "description",
    "external_id",
    "id",
    "stripe_id",
    "rev",
    "updated_at",
];

pub(crate) async fn run(arguments: Arguments, options: Options) -> anyhow::Result<Ended> {
    platform::telemetry::init(&arguments.log)?;
    let format = match &options.file {
        Some(path) if !is_stdout(path) => Format::of(path, options.format)?,
        _ => options.format.unwrap_or(Format::Csv),
    };
    let opened = open::existing(&arguments).await?;
    let mut output = Output::create(options.file.as_deref())?;
    let count = export(&opened.db, format, &mut output).await?;
    output.finish()?;
    let _ = writeln!(std::io::stderr(), "{count} customers exported.");
    Ok(Ended::Well)
}

async fn export(db: &Database, format: Format, to: &mut impl Write) -> anyhow::Result<u64> {
    let interrupt = Interrupt::listen();
    let mut count = 0;
    let mut after = Uuid::nil();
    write_page(format, to, Vec::new(), true)?;
    loop {
        if interrupt.is_set() {
            bail!("interrupted after {count} customers");
        }
        let page = within_bounds(page_after(db, after))
            .await
            .context("reading customers")?;
        let Some(last) = page.last() else { break };
        after = last.id;
        count += page.len() as u64;
        write_page(format, to, page, false)?;
    }
    to.flush().context("writing customers")?;
    Ok(count)
}

fn write_page(
    format: Format,
    to: &mut impl Write,
    page: Vec<Exported>,
    is_first: bool,
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    match format {
        Format::Csv => {
            let mut builder = csv::WriterBuilder::new();
            let mut writer = builder.has_headers(false).from_writer(&mut text);
            if is_first {
                writer.write_record(NAMES).context("spelling the names")?;
            }
            for customer in &page {
                writer.serialize(customer).context("spelling a customer")?;
            }
            writer.flush().context("spelling a page")?;
        }
        Format::Jsonl => {
            for customer in &page {
                serde_json::to_writer(&mut text, customer).context("spelling a customer")?;
                text.push(b'\n');
            }
        }
    }
    to.write_all(&text).context("writing customers")
}

async fn page_after(db: &Database, after: Uuid) -> Result<Vec<Exported>, DbErr> {
    let rows = customer::Entity::find()
        .filter(customer::Column::Id.gt(after))
        .filter(customer::Column::DeletedAt.is_null())
        .order_by_asc(customer::Column::Id)
        .limit(PAGE)
        .all(db)
        .await?;
    let links: Vec<(Uuid, Option<String>)> = stripe_link::Entity::find()
        .select_only()
        .columns([
            stripe_link::Column::CustomerId,
            stripe_link::Column::StripeId,
        ])
        .filter(stripe_link::Column::CustomerId.is_in(rows.iter().map(|row| row.id)))
        .into_tuple()
        .all(db)
        .await?;
    let mut stripe_ids: HashMap<Uuid, Option<String>> = links.into_iter().collect();
    let exported = rows.into_iter().map(|row| Exported {
        stripe_id: stripe_ids.remove(&row.id).flatten(),
        updated_at: row.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        email: row.email,
        name: row.name,
        phone: row.phone,
        description: row.description,
        external_id: row.external_id,
        id: row.id,
        rev: row.rev,
    });
    Ok(exported.collect())
}
