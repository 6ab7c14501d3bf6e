//! Webhook endpoints: where events are sent, which, and the secrets that sign them.

use serde::{Deserialize, Serialize};

use super::event::type_matches;
use crate::wire::error::Error;
use crate::wire::form::{Form, Hash};

pub(crate) type Id = super::id::Id<24>;

pub(crate) const PREFIX: &str = "we_";

const URL_MAX: usize = 5000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) id: Id,
    pub(crate) url: String,
    pub(crate) created: i64,
    pub(crate) enabled_events: Vec<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) api_version: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) secret: String,
    /// A rolled secret and the second until which it still signs.
    pub(crate) old_secrets: Vec<(String, i64)>,
}

/// The parameters of a create or an update.
pub(crate) struct Change {
    url: Option<String>,
    enabled_events: Option<Vec<String>>,
    description: Option<String>,
    metadata: Option<Vec<(String, String)>>,
    api_version: Option<String>,
    disabled: Option<bool>,
}

impl Change {
    pub(crate) fn take(form: &mut Form, creating: bool) -> Result<Self, Error> {
        let url = form.take("url")?;
        if let Some(url) = &url
            && (url.chars().count() > URL_MAX
                || !(url.starts_with("http://") || url.starts_with("https://")))
        {
            return Err(Error::bad(
                "url",
                "Invalid URL: an explicit scheme (such as https) must be provided.",
            )
            .code("url_invalid"));
        }
        let enabled_events = form.take_list("enabled_events")?;
        if enabled_events.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::bad(
                "enabled_events",
                "Invalid array: must contain at least one event.",
            ));
        }
        let metadata = match form.take_hash("metadata")? {
            Some(Hash::Fields(fields)) => Some(fields.into_flat()?),
            Some(Hash::Unset) => Some(Vec::new()),
            None => None,
        };
        let (api_version, disabled) = if creating {
            (form.take("api_version")?, None)
        } else {
            (None, form.take("disabled")?.map(|text| text == "true"))
        };
        let change = Self {
            url,
            enabled_events,
            description: form.take("description")?,
            metadata,
            api_version,
            disabled,
        };
        let missing = |param: &str| {
            Error::bad(param, format!("Missing required param: {param}.")).code("parameter_missing")
        };
        if creating && change.url.is_none() {
            return Err(missing("url"));
        }
        if creating && change.enabled_events.is_none() {
            return Err(missing("enabled_events"));
        }
        Ok(change)
    }

    pub(crate) fn create(self, id: Id, secret: String, created: i64) -> Endpoint {
        let mut endpoint = Endpoint {
            id,
            url: String::new(),
            created,
            enabled_events: Vec::new(),
            description: None,
            metadata: Vec::new(),
            api_version: self.api_version.clone(),
            disabled: false,
            secret,
            old_secrets: Vec::new(),
        };
        self.apply(&mut endpoint);
        endpoint
    }

    pub(crate) fn apply(self, endpoint: &mut Endpoint) {
        if let Some(url) = self.url {
            endpoint.url = url;
        }
        if let Some(events) = self.enabled_events {
            endpoint.enabled_events = events;
        }
        if let Some(description) = self.description {
            endpoint.description = (!description.is_empty()).then_some(description);
        }
        if let Some(metadata) = self.metadata {
            endpoint.metadata = metadata
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect();
        }
        endpoint.disabled = self.disabled.unwrap_or(endpoint.disabled);
    }
}

impl Endpoint {
    pub(crate) fn wants(&self, kind: &str) -> bool {
        !self.disabled
            && self
                .enabled_events
                .iter()
                .any(|pattern| type_matches(pattern, kind))
    }

    /// The secrets that sign at the second `now`, the newest first.
    pub(crate) fn secrets(&self, now: i64) -> Vec<&str> {
        let old = self
            .old_secrets
            .iter()
            .filter(|(_, until)| now < *until)
            .map(|(secret, _)| secret.as_str());
        std::iter::once(self.secret.as_str()).chain(old).collect()
    }

    /// Replaces the secret; the old one goes on signing until the second `until`.
    pub(crate) fn roll(&mut self, secret: String, now: i64, until: i64) {
        let old = std::mem::replace(&mut self.secret, secret);
        self.old_secrets.retain(|(_, until)| now < *until);
        self.old_secrets.push((old, until));
    }

    /// Stripe's `webhook_endpoint`; it tells the secret once, at creation.
    pub(crate) fn json(&self, with_secret: bool, livemode: bool) -> serde_json::Value {
        let metadata: serde_json::Map<_, _> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()))
            .collect();
        let mut object = serde_json::json!({
            "id": self.id.with_prefix(PREFIX),
            "object": "webhook_endpoint",
            "api_version": self.api_version,
            "application": null,
            "created": self.created,
            "description": self.description,
            "enabled_events": self.enabled_events,
            "livemode": livemode,
            "metadata": metadata,
            "status": if self.disabled { "disabled" } else { "enabled" },
            "url": self.url,
        });
        if with_secret {
            object["secret"] = self.secret.clone().into();
        }
        object
    }
}
