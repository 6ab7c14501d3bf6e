//! The call to Stripe, with no transaction open. It changes nothing on our side.

use entity::fields::Fields;
use entity::message::{Moment, StripeCopy};
use entity::write;
use sea_orm::DbErr;

use super::begin::{Push, Request};
use crate::downsync::duplicate;
use crate::engine::{Engine, PUSH_LIMIT};
use crate::outcome::{Operation, is_missing};
use crate::policy::LinkByEmail;
use crate::stripe::{Failure, FailureKind, Lane, Reply};

use find::{find, free_with_same_email};

mod find;

/// What came of the call.
#[derive(Clone, Debug)]
pub enum Sent {
    /// Stripe has what was sent, or what was to be sent is there already.
    Acked(Acked),
    /// A customer with the same e-mail is there, and a person is to decide.
    NeedsReview {
        stripe_id: String,
    },
    /// The customer was edited in Stripe, and nobody has seen it yet: nothing was sent.
    Outdated {
        copy: StripeCopy,
        read_at: Moment,
    },
    /// The customer to update is not there any more.
    Gone {
        copy: StripeCopy,
        read_at: Moment,
    },
    Failed(Operation, Failure),
}

#[derive(Clone, Debug)]
pub enum Acked {
    Created(Reply<StripeCopy>),
    Updated(Reply<StripeCopy>),
    /// The customer was there already. Either its metadata names our row, or only its e-mail does.
    Adopted {
        copy: StripeCopy,
        by_email: bool,
    },
    Deleted,
    Detached,
    /// The row is deleted and its create was never executed.
    NothingThere,
}

impl Sent {
    /// Stripe's id of the request that decided.
    pub(super) fn request_id(&self) -> Option<String> {
        match self {
            Self::Acked(Acked::Created(reply) | Acked::Updated(reply)) => reply.request_id.clone(),
            Self::Failed(_, failure) => failure.request_id.clone(),
            _ => None,
        }
    }

    /// Whether it showed the customer as it is in Stripe.
    pub(super) fn shows_customer(&self) -> bool {
        match self {
            Self::Outdated { .. } => true,
            Self::Acked(Acked::Created(reply) | Acked::Updated(reply)) => !reply.replayed,
            Self::Acked(Acked::Adopted { .. }) => true,
            _ => false,
        }
    }

    /// How it failed, in a code: Stripe's own, or the status, or what became of the request.
    pub(super) fn failure(&self) -> Option<String> {
        let Self::Failed(_, failure) = self else {
            return None;
        };
        let status = failure.status.map(|status| format!("http_{status}"));
        let kind = match failure.kind {
            FailureKind::Unsendable => "unsendable",
            FailureKind::NotSent => "not_sent",
            FailureKind::Unknown => "no_answer",
            FailureKind::TimedOut => "timed_out",
            FailureKind::Unparsed | FailureKind::TooLarge => "unreadable_answer",
            FailureKind::Mismatched => "mismatched_response",
            FailureKind::Answered => "refused",
        };
        let code = failure.code.clone().or(status);
        Some(code.unwrap_or_else(|| kind.to_owned()))
    }
}

/// Sends what was begun; ends within [`PUSH_LIMIT`], as unknown if need be.
pub async fn send(engine: &Engine, push: &Push) -> Result<Sent, write::Error> {
    let operation = push.request.operation();
    match tokio::time::timeout(PUSH_LIMIT, call(engine, push)).await {
        Ok(sent) => sent,
        Err(_elapsed) => Ok(Sent::Failed(operation, timed_out())),
    }
}

impl Request {
    fn operation(&self) -> Operation {
        match self {
            Self::Create { .. } => Operation::Create,
            Self::Update { .. } | Self::Detach { .. } => Operation::Update,
            Self::Delete { .. } => Operation::Delete,
        }
    }
}

async fn call(engine: &Engine, push: &Push) -> Result<Sent, write::Error> {
    let stripe = &engine.stripe;
    let lane = Lane::Upsync;
    match &push.request {
        Request::Create {
            body,
            key,
            is_retry,
        } => Ok(create(engine, push, (body, key), *is_retry).await?),
        Request::Update {
            stripe_id,
            body,
            key,
            look_first,
            ..
        } => Ok(update(engine, (stripe_id, body, key), look_first.as_ref()).await?),
        Request::Delete { stripe_id } => {
            if let Some(failed) = record_duplicates(engine, push, stripe_id).await? {
                return Ok(failed);
            }
            match stripe.delete(lane, stripe_id).await {
                Ok(_) => Ok(Sent::Acked(Acked::Deleted)),
                Err(failure) if is_missing(&failure) => {
                    Ok(gone(engine, (Operation::Delete, stripe_id), Acked::Deleted).await?)
                }
                Err(failure) => Ok(Sent::Failed(Operation::Delete, failure)),
            }
        }
        Request::Detach {
            stripe_id,
            body,
            key,
        } => {
            if let Some(failed) = record_duplicates(engine, push, stripe_id).await? {
                return Ok(failed);
            }
            match stripe.update(lane, stripe_id, body, key).await {
                Ok(_) => Ok(Sent::Acked(Acked::Detached)),
                // What is gone needs no letting go of.
                Err(failure) if is_missing(&failure) => {
                    Ok(gone(engine, (Operation::Update, stripe_id), Acked::Detached).await?)
                }
                Err(failure) => Ok(Sent::Failed(Operation::Update, failure)),
            }
        }
    }
}

/// Records the other Stripe customers with the e-mail of the deleted row, while the deletion still tells them from a
/// customer who signs up again. What failed, if they could not be listed.
async fn record_duplicates(
    engine: &Engine,
    push: &Push,
    stripe_id: &str,
) -> Result<Option<Sent>, write::Error> {
    let read_at = engine.moment(&engine.db).await?;
    match duplicate::list(engine, Lane::Upsync, push.fields.email.as_deref()).await {
        Ok(mut copies) => {
            copies.retain(|copy| copy.stripe_id != stripe_id);
            duplicate::record(engine, copies, read_at).await?;
            Ok(None)
        }
        Err(failure) => Ok(Some(Sent::Failed(Operation::Read, failure))),
    }
}

async fn update(
    engine: &Engine,
    (stripe_id, body, key): (&str, &str, &str),
    look_first: Option<&Fields>,
) -> Result<Sent, DbErr> {
    if let Some(base) = look_first {
        match look(engine, Operation::Update, stripe_id).await? {
            Looked::Living(copy, _) if copy.fields == *base => {}
            Looked::Living(copy, read_at) => return Ok(Sent::Outdated { copy, read_at }),
            Looked::Otherwise(sent) => return Ok(sent),
        }
        engine.steps.reach("send: looked").await;
    }
    match engine
        .stripe
        .update(Lane::Upsync, stripe_id, body, key)
        .await
    {
        Ok(reply) => Ok(Sent::Acked(Acked::Updated(reply))),
        // A 404 is no proof of a deletion: it may be another account's key.
        Err(failure) if is_missing(&failure) => {
            Ok(match look(engine, Operation::Update, stripe_id).await? {
                // It is there after all: the update will be tried again.
                Looked::Living(..) => Sent::Failed(Operation::Read, came_back()),
                Looked::Otherwise(sent) => sent,
            })
        }
        Err(failure) => Ok(Sent::Failed(Operation::Update, failure)),
    }
}

/// What a 404 means for a customer that was to go: it is gone once Stripe answers `deleted: true`, and not before, because
/// another account's or mode's key finds nothing either.
async fn gone(
    engine: &Engine,
    (operation, stripe_id): (Operation, &str),
    done: Acked,
) -> Result<Sent, DbErr> {
    Ok(match look(engine, operation, stripe_id).await? {
        Looked::Otherwise(Sent::Gone { .. }) => Sent::Acked(done),
        Looked::Otherwise(sent) => sent,
        Looked::Living(..) => Sent::Failed(Operation::Read, came_back()),
    })
}

/// The push ran out of time, of which waiting for the rate is a part: what it sent last may have been
/// executed, and it says nothing of Stripe.
fn timed_out() -> Failure {
    Failure::new(FailureKind::TimedOut, "the push took too long")
}

/// Missing for the write and there for the look.
fn came_back() -> Failure {
    let what = "the customer was missing, and is there after all";
    Failure::new(FailureKind::TimedOut, what)
}

enum Looked {
    Living(StripeCopy, Moment),
    Otherwise(Sent),
}

/// Reads the customer that `operation` is to change. Only `deleted: true` proves a deletion.
async fn look(engine: &Engine, operation: Operation, stripe_id: &str) -> Result<Looked, DbErr> {
    let read_at = engine.moment(&engine.db).await?;
    Ok(
        match engine.stripe.retrieve(Lane::Upsync, stripe_id).await {
            Ok(reply) if reply.value.unreadable => {
                let failure = Failure::new(FailureKind::Unparsed, "the customer cannot be read");
                Looked::Otherwise(Sent::Failed(Operation::Read, failure))
            }
            Ok(reply) if reply.value.deleted => Looked::Otherwise(Sent::Gone {
                copy: reply.value,
                read_at,
            }),
            Ok(reply) => Looked::Living(reply.value, read_at),
            Err(failure) if is_missing(&failure) => {
                Looked::Otherwise(Sent::Failed(operation, failure))
            }
            Err(failure) => Looked::Otherwise(Sent::Failed(Operation::Read, failure)),
        },
    )
}

/// Looks before it creates. A customer that names our row is ours, created by an attempt whose answer
/// was lost; so nothing is created twice even when the idempotency key has expired.
async fn create(
    engine: &Engine,
    push: &Push,
    (body, key): (&str, &str),
    is_retry: bool,
) -> Result<Sent, DbErr> {
    let found = match find(engine, push, body).await {
        Ok(found) => found,
        Err(failure) => return Ok(Sent::Failed(Operation::Read, failure)),
    };
    if let Some(copy) = found.ours {
        return Ok(Sent::Acked(Acked::Adopted {
            copy,
            by_email: false,
        }));
    }
    if push.is_deleted && !is_retry {
        return Ok(Sent::Acked(Acked::NothingThere));
    }
    if !push.is_deleted
        && let Some(copy) = free_with_same_email(engine, push, found.with_email).await?
    {
        return Ok(match engine.policy.link_by_email {
            LinkByEmail::On => Sent::Acked(Acked::Adopted {
                copy,
                by_email: true,
            }),
            LinkByEmail::Review => Sent::NeedsReview {
                stripe_id: copy.stripe_id,
            },
        });
    }
    engine.steps.reach("send: looked").await;
    Ok(match engine.stripe.create(Lane::Upsync, body, key).await {
        Ok(reply) => Sent::Acked(Acked::Created(reply)),
        Err(failure) => Sent::Failed(Operation::Create, failure),
    })
}
