//! The rows of a first import, written as fast as that goes: the walker's pages, in batches by COPY over a few
//! connections. What a row has beyond its customer is taken from one that the worker has imported.

use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use platform::config::Secret;
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, Row};
use serde_json::json;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::sandbox::Sandbox;
use crate::walk::{Customer, Plan, walk};
use crate::{PAGES_AHEAD, open};

/// The tables that an import writes a row of for each customer.
const TABLES: [&str; 3] = ["customer", "stripe_link", "timeline"];

#[derive(Args)]
pub(crate) struct Insert {
    /// The empty database to fill
    #[arg(long)]
    into: Secret,
    /// A database that the worker has filled: its rows are the example
    #[arg(long)]
    like: Secret,
    /// Connections that write
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Customers of one transaction
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    #[command(flatten)]
    plan: Plan,
}

/// A table's columns with the example's values; none where the database is to choose.
#[derive(Clone)]
struct Shape {
    table: &'static str,
    columns: Vec<(String, Option<String>)>,
}

type Pages = Arc<Mutex<mpsc::Receiver<Vec<Customer>>>>;

impl Insert {
    pub(crate) async fn run(self, stripe: Sandbox) -> anyhow::Result<String> {
        let mut example = open(&self.like).await?;
        let mut shapes = Vec::new();
        for table in TABLES {
            shapes.push(shape(&mut example, table).await?);
        }
        let begun = Instant::now();
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let pages = Arc::new(Mutex::new(pages));
        let mut writers = JoinSet::new();
        for _ in 0..self.connections {
            let connection = open(&self.into).await?;
            writers.spawn(write(connection, shapes.clone(), self.batch, pages.clone()));
        }
        drop(pages);
        walk(stripe, self.plan, sender).await?;
        let mut customers = 0;
        while let Some(written) = writers.join_next().await {
            customers += written??;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown as a whole number"
        )]
        let rate = customers as f64 / begun.elapsed().as_secs_f64();
        Ok(format!("{rate:.0}"))
    }
}

/// The columns of a table and the values of its first row.
async fn shape(example: &mut PgConnection, table: &'static str) -> anyhow::Result<Shape> {
    let select = format!(
        "SELECT a.attname::text, v.value FROM pg_attribute a \
         JOIN jsonb_each_text((SELECT to_jsonb(t) FROM {table} t LIMIT 1)) v ON v.key = a.attname \
         WHERE a.attrelid = '{table}'::regclass AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let rows = sqlx::query(AssertSqlSafe(select))
        .fetch_all(example)
        .await?;
    let mut columns = Vec::new();
    for row in rows {
        let (name, value): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        // The one key that the database draws.
        if (table, name.as_str()) != ("timeline", "id") {
            columns.push((name, value));
        }
    }
    ensure!(
        !columns.is_empty(),
        "{table} has no row to take as an example"
    );
    Ok(Shape { table, columns })
}

/// Writes batches until there are no more pages; returns how many customers those were.
async fn write(
    mut connection: PgConnection,
    shapes: Vec<Shape>,
    batch: usize,
    pages: Pages,
) -> anyhow::Result<usize> {
    let mut copies = vec![Vec::new(); shapes.len()];
    let (mut waiting, mut written) = (0, 0);
    loop {
        let page = pages.lock().await.recv().await;
        let is_last = page.is_none();
        for customer in page.into_iter().flatten() {
            let id = Uuid::now_v7();
            for (shape, copy) in shapes.iter().zip(&mut copies) {
                shape.add(copy, &customer, id);
            }
            waiting += 1;
        }
        if waiting >= batch || (is_last && waiting > 0) {
            store(&mut connection, &shapes, &mut copies).await?;
            written += std::mem::take(&mut waiting);
        }
        if is_last {
            return Ok(written);
        }
    }
}

async fn store(
    connection: &mut PgConnection,
    shapes: &[Shape],
    copies: &mut [Vec<u8>],
) -> anyhow::Result<()> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    for (shape, rows) in shapes.iter().zip(copies) {
        let columns: Vec<&str> = shape
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let statement = format!("COPY {} ({}) FROM STDIN", shape.table, columns.join(", "));
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(rows.as_slice()).await?;
        copy.finish().await.context("copying a batch")?;
        rows.clear();
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

impl Shape {
    /// Adds the row of a customer in COPY's text format.
    fn add(&self, rows: &mut Vec<u8>, customer: &Customer, id: Uuid) {
        let email = || customer.email.clone();
        for (number, (name, example)) in self.columns.iter().enumerate() {
            let value = match (self.table, name.as_str()) {
                ("customer", "id") | (_, "customer_id") => Some(id.to_string()),
                ("customer", "email") => email(),
                ("customer", "email_key") => email().map(|email| email.to_lowercase()),
                ("customer", "name") => customer.name.clone(),
                ("customer", "phone") => customer.phone.clone(),
                ("customer", "description") => customer.description.clone(),
                ("stripe_link", "stripe_id") => Some(customer.id.clone()),
                // Indexed, so that it costs what it costs the worker.
                ("stripe_link", "stripe_created") => Some(customer.created.to_string()),
                ("stripe_link", "base") => Some(base(customer)),
                _ => example.clone(),
            };
            if number > 0 {
                rows.push(b'\t');
            }
            match value {
                Some(value) => escape(rows, &value),
                None => rows.extend(b"\\N"),
            }
        }
        rows.push(b'\n');
    }
}

fn base(customer: &Customer) -> String {
    let Customer {
        email,
        name,
        phone,
        description,
        ..
    } = customer;
    json!({ "email": email, "name": name, "phone": phone, "description": description }).to_string()
}

fn escape(rows: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'\\' => rows.extend(b"\\\\"),
            b'\t' => rows.extend(b"\\t"),
            b'\n' => rows.extend(b"\\n"),
            b'\r' => rows.extend(b"\\r"),
            _ => rows.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_of_its_customer_where_it_can_be_and_of_the_example_elsewhere() {
        let columns = [
            ("id", Some("x")),
            ("name", Some("Example")),
            ("phone", Some("1")),
            ("rev", Some("1")),
            ("deleted_at", None),
        ];
        let columns = columns.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        let shape = Shape {
            table: "customer",
            columns: columns.to_vec(),
        };
        let customer = r#"{"id": "cus_1", "created": 1, "name": "A\\\tB", "metadata": {}}"#;
        let customer = serde_json::from_str(customer).unwrap();
        let mut rows = Vec::new();
        shape.add(&mut rows, &customer, Uuid::nil());
        let expected = "00000000-0000-0000-0000-000000000000\tA\\\\\\tB\t\\N\t1\t\\N\n";
        assert_eq!(String::from_utf8(rows).unwrap(), expected);
    }
}
