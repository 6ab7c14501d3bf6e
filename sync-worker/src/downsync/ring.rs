//! E-mails that went round in Stripe: each of some customers has the e-mail that the next one's row still
//! has here, so that none can take its own. They take them all at once.

use anyhow::Context;
use entity::email::Email;
use entity::message::Drift;
use entity::parked::Reason;
use entity::{customer, stripe_link, write};
use platform::database::within_bounds;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr};

use super::apply::Applied;
use super::fence::counts;
use super::inbox::read_again;
use crate::engine::Engine;
use crate::observe::store::{Observed, Sight, observe};

/// The longest ring that is looked for. A person who gives more customers than that each other's e-mails
/// at once gives one of them another one in between.
const LONGEST: usize = 8;

/// [`close`] after a drift that left its customer as it was. A ring that could not be closed is found again
/// by the next full pass.
pub(super) async fn close_ring(engine: &Engine, drift: &Drift, applied: Applied) {
    if may_wait(applied)
        && let Err(error) = close(engine, drift).await
    {
        tracing::warn!(stripe.id = %drift.copy.stripe_id, error = ?error, "looking for e-mails that went round");
    }
}

/// Whether the customer was left as it was, and may wait for the e-mail of another one.
pub(crate) fn may_wait(applied: Applied) -> bool {
    matches!(
        applied,
        Applied::Observed(Observed::Parked | Observed::Nothing)
    )
}

/// If the customer of this drift waits for an e-mail whose owner waits for another one in turn, and so
/// on, back to the first, then all of them take theirs. Returns whether they did.
///
/// # Errors
/// Stripe or the database is away; every row is as it was.
pub async fn close(engine: &Engine, drift: &Drift) -> anyhow::Result<bool> {
    let link = stripe_link::find_by_stripe_id(&engine.db, &drift.copy.stripe_id);
    let link = within_bounds(link).await?;
    if !link.is_some_and(|link| waits_for_email(&link)) {
        return Ok(false);
    }
    let found = find(&engine.db, drift, Copies::OfStripe(engine));
    let Some(ring) = found.await? else {
        return Ok(false);
    };
    engine.steps.reach("ring: lock").await;
    let closed = within_bounds(take_all_and_commit(engine, &ring))
        .await
        .context("giving customers each other's e-mails")?;
    if closed {
        tracing::info!(
            customers = ring.len(),
            "e-mails that went round in stripe have gone round here"
        );
    }
    Ok(closed)
}

/// [`close`] in the caller's transaction, with copies that were read before.
pub(crate) async fn close_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    drift: &Drift,
    copies: &[Drift],
) -> Result<bool, write::Error> {
    let link = stripe_link::find_by_stripe_id(tx, &drift.copy.stripe_id).await?;
    if !link.is_some_and(|link| waits_for_email(&link)) {
        return Ok(false);
    }
    let found = find(tx, drift, Copies::Read(copies)).await;
    // Copies that were read before are no other source of errors than the database.
    let found = found.map_err(|error| match error.downcast::<DbErr>() {
        Ok(error) => error,
        Err(error) => DbErr::Custom(format!("{error:#}")),
    })?;
    let Some(ring) = found else {
        return Ok(false);
    };
    tx.execute_unprepared("SAVEPOINT ring").await?;
    let closed = take_all(engine, tx, &ring).await?;
    let end = match closed {
        true => "RELEASE SAVEPOINT ring",
        false => "ROLLBACK TO SAVEPOINT ring",
    };
    tx.execute_unprepared(end).await?;
    Ok(closed)
}

/// Where the members of a ring are read.
#[derive(Clone, Copy)]
enum Copies<'a> {
    OfStripe(&'a Engine),
    Read(&'a [Drift]),
}

impl Copies<'_> {
    async fn read(self, stripe_id: &str) -> anyhow::Result<Option<Drift>> {
        match self {
            Self::OfStripe(engine) => read_again(engine, stripe_id).await,
            Self::Read(copies) => {
                let mut copies = copies.iter();
                Ok(copies.find(|one| one.copy.stripe_id == stripe_id).cloned())
            }
        }
    }
}

fn waits_for_email(link: &stripe_link::Model) -> bool {
    link.parked() == Some(Reason::EmailTaken)
}

/// The customers of the ring as they are in Stripe now; none if there is no ring.
async fn find(
    db: &impl ConnectionTrait,
    first: &Drift,
    copies: Copies<'_>,
) -> anyhow::Result<Option<Vec<Drift>>> {
    let mut ring: Vec<Drift> = Vec::new();
    let mut wanted = first.copy.fields.email.clone();
    while ring.len() < LONGEST {
        let Some(link) = owner(db, wanted.as_deref()).await? else {
            return Ok(None);
        };
        let is_known = |drift: &Drift| Some(&drift.copy.stripe_id) == link.stripe_id.as_ref();
        if !waits_for_email(&link) || ring.iter().any(is_known) {
            return Ok(None);
        }
        let stripe_id = link.stripe_id.as_deref().unwrap_or_default();
        let Some(drift) = copies.read(stripe_id).await? else {
            return Ok(None);
        };
        wanted.clone_from(&drift.copy.fields.email);
        ring.push(drift);
        if is_known(first) {
            return Ok((ring.len() > 1).then_some(ring));
        }
    }
    Ok(None)
}

/// The link of the living row that has this e-mail.
async fn owner(
    db: &impl ConnectionTrait,
    email: Option<&str>,
) -> Result<Option<stripe_link::Model>, DbErr> {
    let Some(email) = email.and_then(|text| Email::parse(text).ok()) else {
        return Ok(None);
    };
    let owner = customer::find_living_by_email_key(db, email.key());
    match within_bounds(owner).await? {
        Some(row) => within_bounds(stripe_link::find(db, row.id)).await,
        None => Ok(None),
    }
}

/// One transaction: all of them, or none.
async fn take_all_and_commit(engine: &Engine, ring: &[Drift]) -> Result<bool, write::Error> {
    let tx = engine.begin().await?;
    let closed = take_all(engine, &tx, ring).await?;
    if closed {
        engine.steps.reach_commit("ring: commit").await;
        tx.commit().await?;
    }
    Ok(closed)
}

/// If not all of them do, the caller has to take back what was written.
async fn take_all(
    engine: &Engine,
    tx: &DatabaseTransaction,
    ring: &[Drift],
) -> Result<bool, write::Error> {
    let now = engine.now(tx).await?;
    let Some(locked) = lock_all(tx, ring).await? else {
        return Ok(false);
    };
    for (drift, link, row) in &locked {
        if !waits_for_email(link) || !counts(link, drift.read_at, now) || row.is_deleted() {
            return Ok(false);
        }
        write::give_up_email(tx, row).await?;
    }
    for (drift, link, row) in &locked {
        let sight = Sight {
            copy: &drift.copy,
            read_at: Some(drift.read_at),
            must_stamp: false,
        };
        let observed = observe(tx, &engine.policy, (row, link), sight, now).await?;
        let row = customer::find(tx, row.id).await?;
        // A row that did not take another one would be left without.
        if observed == Observed::Parked || row.is_none_or(|row| !row.has_email()) {
            return Ok(false);
        }
    }
    Ok(true)
}

type Locked<'a> = (&'a Drift, stripe_link::Model, customer::Model);

/// Every link and then every row, in one order, so that no two transactions wait for each other. None if
/// one of them is another customer's by now.
async fn lock_all<'a>(
    tx: &DatabaseTransaction,
    ring: &'a [Drift],
) -> Result<Option<Vec<Locked<'a>>>, DbErr> {
    let mut members = Vec::with_capacity(ring.len());
    for drift in ring {
        let Some(link) = stripe_link::find_by_stripe_id(tx, &drift.copy.stripe_id).await? else {
            return Ok(None);
        };
        members.push((link.customer_id, drift));
    }
    members.sort_by_key(|(customer_id, _)| *customer_id);
    let mut links = Vec::with_capacity(ring.len());
    for (customer_id, drift) in members {
        let link = stripe_link::lock(tx, customer_id).await?;
        let link = link.filter(|link| link.stripe_id.as_ref() == Some(&drift.copy.stripe_id));
        let Some(link) = link else {
            return Ok(None);
        };
        links.push((drift, link));
    }
    let mut locked = Vec::with_capacity(ring.len());
    for (drift, link) in links {
        let Some(row) = customer::lock(tx, link.customer_id).await? else {
            return Ok(None);
        };
        locked.push((drift, link, row));
    }
    Ok(Some(locked))
}
