//! The first lines that a person reads: where everything is, which data are used, and what to try.

use std::io::Write;

use anyhow::Context;
use entity::downsync_state::{Entity, ID};
use platform::database::Database;
use sea_orm::EntityTrait;
use sync_worker::downsync::account::{Identity, mode};

use crate::arguments::Arguments;
use crate::layout;

/// Where the parts can be reached.
pub(crate) struct Places {
    pub(crate) api: String,
    pub(crate) data: Data,
    /// None where a real Stripe is used.
    pub(crate) sandbox: Option<String>,
    pub(crate) needs_key: bool,
}

/// The database that is used, and the one of the folder that is not.
#[derive(Default)]
pub(crate) struct Data {
    database: String,
    identity: Identity,
    unused: Option<String>,
}

impl Data {
    /// Reads whose data they are.
    pub(crate) async fn read(arguments: &Arguments, db: &Database) -> anyhow::Result<Self> {
        let state = Entity::find_by_id(ID).one(db).await;
        let state = state.context("reading which account the database belongs to")?;
        let identity = state.as_ref().map(Identity::pinned).unwrap_or_default();
        if arguments.database_url()?.is_some() {
            return Ok(Self {
                database: "the database of DATABASE_URL".to_owned(),
                identity,
                unused: None,
            });
        }
        let unused = layout::unused(arguments)?;
        Ok(Self {
            database: layout::selected(arguments)?.display().to_string(),
            identity,
            unused: unused.map(|file| file.display().to_string()),
        })
    }

    fn text(&self, is_sandbox: bool) -> String {
        let owner = match (&self.identity.account, self.identity.livemode) {
            (Some(account), Some(livemode)) => {
                format!("belongs to {account}, {} mode", mode(livemode))
            }
            (Some(account), None) => format!("belongs to {account}"),
            (None, _) if is_sandbox => "will belong to the sandbox".to_owned(),
            (None, _) => "will belong to the account of STRIPE_SECRET_KEY".to_owned(),
        };
        let mut text = format!("  Data          {}  ({owner})\n", self.database);
        if let Some(unused) = &self.unused {
            let step = if is_sandbox {
                "an account's: set STRIPE_SECRET_KEY to use it"
            } else {
                "the sandbox's: no customer of it is sent"
            };
            text.push_str(&format!("  Not used      {unused}  ({step})\n"));
        }
        if self.identity.account.is_none() && !is_sandbox {
            text.push_str("  First start   docs/first-live-account.md: which side wins, and how to see it before\n");
        }
        text
    }
}

/// Prints the greeting to stdout. A closed stdout is nobody's problem.
pub(crate) fn print(places: &Places) {
    let _ = std::io::stdout().lock().write_all(text(places).as_bytes());
}

fn text(places: &Places) -> String {
    let api = &places.api;
    let key = if places.needs_key {
        " -H 'Authorization: Bearer YOUR_KEY'"
    } else {
        ""
    };
    let mut text = format!(
        "\ncustomer-sync is running.\n\n  \
           API           {api}/api/v1/customers\n  \
           Swagger UI    {api}/docs\n  \
           Health        {api}/health/ready\n"
    );
    match &places.sandbox {
        Some(sandbox) => text.push_str(&format!(
            "  Sandbox       {sandbox}/  (no STRIPE_SECRET_KEY is set: nothing is sent to Stripe)\n"
        )),
        None => text.push_str("  Stripe        the account of STRIPE_SECRET_KEY\n"),
    }
    text.push_str(&places.data.text(places.sandbox.is_some()));
    text.push_str(&format!(
        "\nTry:\n\n  \
           curl{key} {api}/api/create-customer/ -H 'Content-Type: application/json' \\\n       \
             -d '{{\"name\": \"Ada Lovelace\", \"email\": \"ada@example.com\"}}'\n  \
           curl{key} '{api}/api/v1/customers/ada@example.com/sync?wait=10s'\n"
    ));
    if let Some(sandbox) = &places.sandbox {
        text.push_str(&format!(
            "  curl {sandbox}/v1/customers -u sk_test_sandbox:\n\n\
             Then edit the customer at {sandbox}/: the API returns the edit within DOWNSYNC_INTERVAL.\n"
        ));
    }
    text.push_str("\nCtrl-C stops it.\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sandbox: Option<&str>) -> Places {
        Places {
            api: "http://127.0.0.1:8000".into(),
            data: Data {
                database: "./data/x.db".into(),
                identity: Identity::default(),
                unused: None,
            },
            sandbox: sandbox.map(str::to_owned),
            needs_key: sandbox.is_none(),
        }
    }

    #[test]
    fn greeting_of_the_sandbox_names_every_place() {
        let shown = text(&places(Some("http://127.0.0.1:12111")));
        for place in [
            "127.0.0.1:8000/docs",
            "create-customer",
            "127.0.0.1:12111/v1/customers",
            "./data/x.db",
            "nothing is sent to Stripe",
        ] {
            assert!(shown.contains(place), "{shown}");
        }
        assert!(!shown.contains("Bearer"), "{shown}");
    }

    #[test]
    fn greeting_of_an_account_says_whose_data_are_used() {
        let mut places = places(None);
        places.data.unused = Some("./data/sandbox.db".into());
        let shown = text(&places);
        assert!(shown.contains("Bearer") && !shown.contains("12111"));
        for part in ["will belong to", "./data/sandbox.db", "first-live-account"] {
            assert!(shown.contains(part), "{shown}");
        }
        places.data.identity = Identity {
            account: Some("acct_1".into()),
            livemode: Some(true),
        };
        let shown = text(&places);
        assert!(shown.contains("belongs to acct_1, live mode"), "{shown}");
        assert!(!shown.contains("first-live-account"), "{shown}");
    }
}
