//! A plan as a file: what was read, when, under which policy, and an item for each customer that differs.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sync_worker::downsync::account::Identity;
use sync_worker::preview::{Item, Preview};

/// Of this form. Another one is not read.
const VERSION: u32 = 1;

/// The longest plan that is read, in bytes.
const LONGEST: u64 = 1 << 30;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    version: u32,
    /// Of Stripe; null where the key may not say.
    pub(crate) account: Option<String>,
    /// The mode of the key: true is live mode; null where neither the key nor a customer says it.
    pub(crate) livemode: Option<bool>,
    /// Tells the settings apart that decided: ON_…_DELETE, FIELD_OWNER, LINK_BY_EMAIL, MAX_….
    pub(crate) policy: String,
    pub(crate) read_at: DateTime<Utc>,
    /// How many customers Stripe listed.
    pub(crate) listed: u64,
    pub(crate) items: Vec<Item>,
}

impl Document {
    pub(crate) fn of(preview: Preview) -> Self {
        let Preview {
            key,
            policy,
            read_at,
            listed,
            items,
        } = preview;
        let Identity { account, livemode } = key;
        Self {
            version: VERSION,
            account,
            livemode,
            policy,
            read_at,
            listed,
            items,
        }
    }

    /// The account and the mode of the key that it was made with.
    pub(crate) fn key(&self) -> Identity {
        Identity {
            account: self.account.clone(),
            livemode: self.livemode,
        }
    }

    /// As indented JSON, with a line break behind it.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *to, self)?;
        to.write_all(b"\n")
    }

    /// Reads one back.
    ///
    /// # Errors
    /// It is no plan, or one of another version. No error quotes it: it is about people.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = std::fs::metadata(path)
            .with_context(|| format!("reading the plan {shown}"))?
            .len();
        ensure!(size <= LONGEST, "{shown} is larger than a plan may be");
        let text = std::fs::read(path).with_context(|| format!("reading the plan {shown}"))?;
        let any: Version = parse(&text).with_context(|| format!("{shown} is no plan"))?;
        ensure!(
            any.version == VERSION,
            "{shown} is a plan of version {}, and this program makes and reads version {VERSION}: plan again",
            any.version
        );
        parse(&text).with_context(|| format!("{shown} is no plan of version {VERSION}"))
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The error of the parser may quote a value; where it is will do.
fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> anyhow::Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        anyhow::anyhow!(
            "it cannot be read from line {}, column {} on",
            error.line(),
            error.column()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Document> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        std::fs::write(&path, text).unwrap();
        Document::read(&path)
    }

    #[test]
    fn a_plan_is_read_back_and_no_other_version_and_nothing_else() {
        let plan = Document {
            version: VERSION,
            account: None,
            livemode: Some(false),
            policy: "p".to_owned(),
            read_at: DateTime::UNIX_EPOCH,
            listed: 7,
            items: Vec::new(),
        };
        let mut text = Vec::new();
        plan.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(read(&text).unwrap(), plan);
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        let error = format!("{:#}", read(&newer).unwrap_err());
        assert!(error.contains("plan again"), "{error}");
        for wrong in ["", "[]", "{\"version\": 1, \"secret\": \"a@x.io\"}"] {
            let error = format!("{:#}", read(wrong).unwrap_err());
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
