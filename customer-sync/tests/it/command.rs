//! The commands that end, as a person runs them: `plan`, `apply`, `import` and `export`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use entity::customer;
use entity::email::Email;
use entity::fields::Fields;
use entity::write::{self, NewCustomer};
use platform::database;
use platform::test_support::{self, TestDatabase};
use sea_orm::{EntityTrait, QueryOrder};
use stripe_sandbox::{Options, Running};
use tempfile::TempDir;
use uuid::Uuid;

mod export;
#[cfg(unix)]
mod file;
mod import;
mod plan;
mod webhook;

/// A database, a Stripe, and a folder for files.
struct Pair {
    database: TestDatabase,
    stripe: Running,
    folder: TempDir,
}

impl Pair {
    async fn new() -> Self {
        Self::on(test_support::sqlite().await).await
    }

    async fn on(database: TestDatabase) -> Self {
        Self {
            database,
            stripe: stripe_sandbox::start(Options::default()).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// A command that is set to this pair, with a log of everything.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", self.database.url.expose())
            .env("DATA_DIR", self.path("data"))
            .env("STRIPE_SECRET_KEY", "sk_test_sandbox")
            .env("STRIPE_API_BASE", &self.stripe.url)
            .env("STRIPE_RATE", "1000")
            .env("LOG", "trace");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments)).await
    }

    async fn create(&self, email: &str, name: Option<&str>) -> customer::Model {
        self.write(email, name).await.unwrap()
    }

    /// Creates one, unless its e-mail is taken.
    async fn try_create(&self, email: &str) {
        let written = self.write(email, None).await;
        assert!(matches!(written, Ok(_) | Err(write::Error::EmailTaken)));
    }

    async fn write(
        &self,
        email: &str,
        name: Option<&str>,
    ) -> Result<customer::Model, write::Error> {
        let fields = Fields {
            email: Some(email.to_owned()),
            name: name.map(str::to_owned),
            ..Fields::default()
        };
        let new = NewCustomer {
            id: Uuid::now_v7(),
            email: Email::parse(email).unwrap(),
            fields,
            external_id: None,
            stripe_id: None,
            now: chrono::Utc::now(),
            traceparent: None,
        };
        let tx = database::begin(&self.database.connection).await.unwrap();
        let row = write::create(&tx, &new).await?;
        tx.commit().await.unwrap();
        Ok(row)
    }

    async fn rename(&self, row: &customer::Model, name: &str) {
        let tx = database::begin(&self.database.connection).await.unwrap();
        let row = customer::lock(&tx, row.id).await.unwrap().unwrap();
        let fields = Fields {
            name: Some(name.to_owned()),
            ..row.fields()
        };
        let email = Email::parse(&row.email).unwrap();
        let now = chrono::Utc::now();
        write::update(&tx, &row, (&email, &fields), now, None)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn rows(&self) -> Vec<customer::Model> {
        customer::Entity::find()
            .order_by_asc(customer::Column::Id)
            .all(&self.database.connection)
            .await
            .unwrap()
    }

    /// What Stripe was asked to change, as method and path.
    fn writes(&self) -> Vec<String> {
        let requests = self.stripe.sandbox.requests().into_iter();
        requests
            .filter(|request| request.method != "GET")
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

/// What a command said and how it ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code, and told nothing of people in its log and its errors.
    #[track_caller]
    fn ended(&self, code: i32) -> &Self {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "{stdout}\n{stderr}");
        for secret in ["@x", "Ada", "Grace", "Joan", "sk_test_sandbox"] {
            assert!(!stderr.contains(secret), "{secret}: {stderr}");
        }
        self
    }
}

/// Runs it beside the test, so that the sandbox can answer.
async fn run(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    Ran::of(output.await.unwrap())
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_customer-sync"))
}
