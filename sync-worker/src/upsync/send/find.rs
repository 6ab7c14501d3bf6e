//! Whether the customer that is to be created is in Stripe already: made by an attempt of ours whose answer
//! was lost, or by somebody else with the same e-mail.

use chrono::{DateTime, Utc};
use entity::email::Email;
use entity::fields::Fields;
use entity::message::StripeCopy;
use entity::{customer, stripe_link, unmatched};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::downsync::duplicate;
use crate::engine::Engine;
use crate::frozen::Frozen;
use crate::stripe::{Failure, FailureKind, Lane, ListPage};
use crate::upsync::begin::Push;

/// Between Stripe's clock and the database's.
const SKEW: chrono::Duration = chrono::Duration::minutes(15);

/// Pages that are looked through for one customer.
const MOST_PAGES: usize = 50;

/// What is in Stripe.
pub(super) struct Found {
    /// The oldest that names our row.
    pub(super) ours: Option<StripeCopy>,
    /// Those that have its e-mail.
    pub(super) with_email: Vec<StripeCopy>,
}

/// Looks by e-mail, and, where an attempt is in doubt that the key does not cover, among all that were made
/// since: a person may have given ours another e-mail meanwhile.
pub(super) async fn find(engine: &Engine, push: &Push, body: &str) -> Result<Found, Failure> {
    let with_email = candidates(engine, push, body).await?;
    let mut ours = with_email
        .iter()
        .filter(|copy| copy.customer_id == Some(push.customer_id))
        .min_by_key(|copy| (copy.created, copy.stripe_id.clone()))
        .cloned();
    // It may be ours: creating another one would make two.
    if ours.is_none()
        && let Some(copy) = with_email.iter().find(|copy| copy.unreadable)
    {
        return Err(unreadable(copy));
    }
    if ours.is_none()
        && let Some(since) = push.look_since
    {
        ours = made_since(engine, push, since).await?;
    }
    Ok(Found { ours, with_email })
}

/// The customers that have the row's e-mail, or the one that the frozen create was sent with.
async fn candidates(engine: &Engine, push: &Push, body: &str) -> Result<Vec<StripeCopy>, Failure> {
    let frozen = Frozen::read(body).fields.email;
    let emails = [push.fields.email.as_deref(), frozen.as_deref()];
    duplicate::list(engine, Lane::Upsync, emails.into_iter().flatten()).await
}

/// The customer that names our row among all that were made since a time.
async fn made_since(
    engine: &Engine,
    push: &Push,
    since: DateTime<Utc>,
) -> Result<Option<StripeCopy>, Failure> {
    let mut page = ListPage {
        limit: 100,
        created_gte: Some((since - SKEW).timestamp()),
        ..ListPage::default()
    };
    let mut unread = None;
    for _ in 0..MOST_PAGES {
        let found = engine.stripe.list(Lane::Upsync, &page).await?.value;
        let names_row = |copy: &&StripeCopy| copy.customer_id == Some(push.customer_id);
        if let Some(copy) = found.items.iter().find(names_row) {
            return Ok(Some(copy.clone()));
        }
        unread = unread.or_else(|| {
            found
                .items
                .iter()
                .find(|copy| copy.unreadable)
                .map(unreadable)
        });
        if !found.has_more {
            return unread.map_or(Ok(None), Err);
        }
        if found.cursor == page.starting_after || found.cursor.is_none() {
            return Err(Failure::new(
                FailureKind::Unparsed,
                "a list that repeats itself, or is empty and says that there is more",
            ));
        }
        page.starting_after = found.cursor;
    }
    // Creating it without an answer could make it twice.
    Err(Failure::new(
        FailureKind::Unsendable,
        format!(
            "nobody knows whether Stripe has made this customer, and too many were made since to look \
             through; look in Stripe for the metadata customer_sync_id {}, and try again",
            push.customer_id
        ),
    ))
}

/// A customer that cannot be read, where it has to be known whether it is ours.
fn unreadable(copy: &StripeCopy) -> Failure {
    let what = format!(
        "the customer {} cannot be read, and may be the one to create",
        copy.stripe_id
    );
    Failure::new(FailureKind::Unparsed, what)
}

/// The oldest customer that has the row's e-mail and belongs to no row.
pub(super) async fn free_with_same_email(
    engine: &Engine,
    push: &Push,
    copies: Vec<StripeCopy>,
) -> Result<Option<StripeCopy>, DbErr> {
    let key = |fields: &Fields| {
        let email = fields.email.as_deref().unwrap_or_default();
        Email::parse(email).map(|email| email.key().to_owned()).ok()
    };
    let wanted = key(&push.fields);
    let mut free: Vec<StripeCopy> = Vec::new();
    for copy in copies {
        if copy.detached || key(&copy.fields) != wanted {
            continue;
        }
        let names_a_row = match copy.customer_id {
            Some(id) => customer::find(&engine.db, id).await?.is_some(),
            None => false,
        };
        let is_linked = stripe_link::Entity::find()
            .filter(stripe_link::Column::StripeId.eq(&copy.stripe_id))
            .one(&engine.db)
            .await?
            .is_some();
        // A person has said that this one is somebody else.
        let is_other = unmatched::is_dismissed(&engine.db, &copy.stripe_id).await?;
        if !names_a_row && !is_linked && !is_other {
            free.push(copy);
        }
    }
    free.sort_by(|a, b| (a.created, &a.stripe_id).cmp(&(b.created, &b.stripe_id)));
    Ok(free.into_iter().next())
}
