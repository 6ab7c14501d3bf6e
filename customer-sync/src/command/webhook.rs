//! `customer-sync webhook register | status`: the endpoint in Stripe that sends events to /stripe/webhook.

use std::io::Write;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use entity::downsync_state;
use entity::stripe_event::KINDS;
use sea_orm::EntityTrait;
use sync_worker::downsync::account::{Identity, compare, mode};
use sync_worker::stripe::{Endpoint, Failure, Lane, Stripe};
use uuid::Uuid;

use super::{Ended, open};
use crate::arguments::Arguments;

/// Where the API takes webhooks.
const PATH: &str = "/stripe/webhook";

#[derive(Subcommand)]
pub(crate) enum Webhook {
    /// Make the endpoint in Stripe that sends its events here, or put it right. Prints the secret that signs them, once.
    Register {
        /// Where Stripe reaches the API: https://your.host/stripe/webhook
        #[arg(long)]
        url: String,
    },
    /// Say whether the endpoint is as it should be: exit code 0 if so, 2 if not, 1 if that is not known.
    Status {
        /// Absent: the endpoint whose path is /stripe/webhook
        #[arg(long)]
        url: Option<String>,
    },
}

/// What is to be said of the endpoint.
struct Said {
    is_well: bool,
    text: String,
}

/// Does it, in one line on stdout.
pub(crate) async fn run(webhook: Webhook, arguments: &Arguments) -> anyhow::Result<Ended> {
    let said = said(webhook, arguments).await?;
    // The secret may be in it, and it is told once.
    writeln!(std::io::stdout().lock(), "{}", said.text).context("printing what came of it")?;
    Ok(Ended::with_rest(!said.is_well))
}

async fn said(webhook: Webhook, arguments: &Arguments) -> anyhow::Result<Said> {
    arguments.worker.check_sandbox(arguments.has_servers()?)?;
    let stripe = arguments.worker.stripe()?;
    match webhook {
        Webhook::Register { url } => {
            check_key(&stripe, arguments).await?;
            register(&stripe, &url).await
        }
        Webhook::Status { url } => {
            let all = stripe.endpoints().await.map_err(|failure| told(&failure))?;
            Ok(status(&all, url.as_deref()))
        }
    }
}

/// Refuses a key of another account or mode than the database's, if there is a database.
async fn check_key(stripe: &Stripe, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(opened) = open::existing_if_any(arguments).await? else {
        return Ok(());
    };
    let state = downsync_state::Entity::find_by_id(downsync_state::ID).one(&opened.db);
    let state = state
        .await
        .context("reading which account the database belongs to")?;
    let account = match stripe.account(Lane::Downsync).await {
        Ok(reply) => Some(reply.value.id),
        // A restricted key may lack this permission; its mode is known all the same.
        Err(failure) if failure.status == Some(403) => None,
        Err(failure) => return Err(told(&failure)),
    };
    let key = Identity {
        account,
        livemode: stripe.livemode(),
    };
    let pinned = state.as_ref().map(Identity::pinned).unwrap_or_default();
    compare(&pinned, &key)
}

async fn register(stripe: &Stripe, url: &str) -> anyhow::Result<Said> {
    let all = stripe.endpoints().await.map_err(|failure| told(&failure))?;
    let found: Vec<&Endpoint> = all.iter().filter(|one| one.url == url).collect();
    let key = Uuid::new_v4().to_string();
    let text = match found[..] {
        [] => {
            let made = stripe.create_endpoint(url, &key).await;
            let made = made.map_err(|failure| told(&failure))?;
            let secret = made.secret.as_ref();
            let secret = secret.context(
                "Stripe made the endpoint and did not tell its secret: see its dashboard",
            )?;
            format!(
                "made {} in {}; this secret is not shown again, set it for the API: STRIPE_WEBHOOK_SECRET={}",
                name(&made),
                mode_name(stripe),
                secret.expose()
            )
        }
        [one] if faults(one).is_empty() => {
            format!("{} is as it should be; nothing was changed", name(one))
        }
        [one] => {
            let repaired = stripe.repair_endpoint(&one.id, &key).await;
            let repaired = repaired.map_err(|failure| told(&failure))?;
            let left = faults(&repaired);
            if !left.is_empty() {
                return Err(anyhow!("{} {} still", name(&repaired), left.join(" and ")));
            }
            format!(
                "{} was put right; its secret is the same as before",
                name(&repaired)
            )
        }
        _ => return Ok(status(&all, Some(url))),
    };
    Ok(Said {
        is_well: true,
        text,
    })
}

/// Judges the endpoints of an account. Pure.
fn status(all: &[Endpoint], url: Option<&str>) -> Said {
    let is_meant = |one: &&Endpoint| match url {
        Some(url) => one.url == url,
        None => one
            .url
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .ends_with(PATH),
    };
    let found: Vec<&Endpoint> = all.iter().filter(is_meant).collect();
    let ill = |text| Said {
        is_well: false,
        text,
    };
    match found[..] {
        [] => {
            let meant = url.map_or_else(
                || format!("whose path is {PATH}"),
                |url| format!("at {url}"),
            );
            ill(format!(
                "Stripe has no webhook endpoint {meant}; customer-sync webhook register --url makes one"
            ))
        }
        [one] => {
            let faults = faults(one);
            if faults.is_empty() {
                let text = format!("{} is enabled and sends {}", name(one), KINDS.join(", "));
                return Said {
                    is_well: true,
                    text,
                };
            }
            ill(format!(
                "{} {}; customer-sync webhook register --url {} puts it right",
                name(one),
                faults.join(" and "),
                one.url
            ))
        }
        _ => {
            let names: Vec<String> = found.iter().map(|one| name(one)).collect();
            let names = names.join(", ");
            ill(match url {
                // Each has a secret of its own, and each event comes as often.
                Some(_) => format!(
                    "Stripe has several endpoints with this url, delete all but one: {names}"
                ),
                None => format!("Stripe has several endpoints, name one with --url: {names}"),
            })
        }
    }
}

fn mode_name(stripe: &Stripe) -> String {
    let named = stripe
        .livemode()
        .map(|livemode| format!("{} mode", mode(livemode)));
    named.unwrap_or_else(|| "an unknown mode".to_owned())
}

fn faults(endpoint: &Endpoint) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if !endpoint.is_enabled {
        faults.push("is disabled");
    }
    if !endpoint.sends_our_events() {
        faults.push("sends other events than those of customers");
    }
    faults
}

fn name(endpoint: &Endpoint) -> String {
    format!("endpoint {} at {}", endpoint.id, endpoint.url)
}

/// What a failed request means to the operator. Stripe's own words quote nothing but what was sent.
fn told(failure: &Failure) -> anyhow::Error {
    match failure.status {
        Some(403) => anyhow!(
            "the key may not manage webhook endpoints: give a restricted key \"Webhook Endpoints: write\", or make \
             the endpoint in Stripe's dashboard, for the events {}",
            KINDS.join(", ")
        ),
        Some(401) => anyhow!("Stripe refuses the key of STRIPE_SECRET_KEY"),
        _ if failure.message.is_empty() => {
            anyhow!("asking Stripe for its webhook endpoints: {failure}")
        }
        _ => anyhow!(
            "asking Stripe for its webhook endpoints: {}",
            failure.message
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str, url: &str) -> Endpoint {
        Endpoint {
            id: id.to_owned(),
            url: url.to_owned(),
            enabled_events: KINDS.map(str::to_owned).to_vec(),
            is_enabled: true,
            secret: None,
        }
    }

    const URL: &str = "https://a.example/stripe/webhook";

    #[test]
    fn an_endpoint_that_is_enabled_and_sends_the_three_events_is_well() {
        let other = endpoint("we_2", "https://b.example/hooks");
        let said = status(&[other, endpoint("we_1", URL)], None);
        assert!(said.is_well && said.text.contains("we_1"), "{}", said.text);
        assert!(status(&[endpoint("we_1", URL)], Some(URL)).is_well);
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_is_said() {
        let mut disabled = endpoint("we_1", URL);
        disabled.is_enabled = false;
        let mut all = endpoint("we_1", URL);
        all.enabled_events = vec!["*".to_owned()];
        let mut more = endpoint("we_1", URL);
        more.enabled_events.push("invoice.paid".to_owned());
        let mut fewer = endpoint("we_1", URL);
        fewer.enabled_events.pop();
        for (ill, word) in [
            (disabled, "disabled"),
            (all, "other events"),
            (more, "other events"),
            (fewer, "other events"),
        ] {
            let said = status(&[ill], None);
            assert!(!said.is_well && said.text.contains(word), "{}", said.text);
        }
    }

    #[test]
    fn none_and_several_are_not_well() {
        let twin = |id| endpoint(id, URL);
        for (all, url, word) in [
            (vec![], None, "register"),
            (
                vec![twin("we_1")],
                Some("https://c.example/stripe/webhook"),
                "register",
            ),
            (vec![twin("we_1"), twin("we_2")], Some(URL), "delete"),
            (vec![twin("we_1"), twin("we_2")], None, "--url"),
        ] {
            let said = status(&all, url);
            assert!(!said.is_well && said.text.contains(word), "{}", said.text);
        }
    }
}
