//! What a push that was acknowledged means for the link. Pure.

use entity::fields::{Fields, canonical};
use entity::message::StripeCopy;
use entity::stamp::Stamps;
use entity::{customer, stripe_link};

use crate::frozen::Frozen;
use crate::observe::base_of_ours;
use crate::stripe::Reply;
use crate::upsync::begin::{Push, Request};
use crate::upsync::send::Acked;

/// What both sides agree on by an acknowledged push.
#[derive(Default)]
pub(super) struct Agreed {
    pub(super) rev: i64,
    pub(super) pushed: Option<Stamps>,
    /// The `external_id` that Stripe holds, where that is known anew.
    pub(super) external_id: Option<Option<String>>,
    pub(super) stripe_id: Option<String>,
    pub(super) base: Option<Fields>,
    pub(super) by_email: bool,
    pub(super) is_detached: bool,
    pub(super) is_gone: bool,
    pub(super) must_read_again: bool,
}

/// Reads the agreement out of what came of the push, and the copy that is to be judged with it.
pub(super) fn agreement(
    (row, link): (&customer::Model, &stripe_link::Model),
    push: &Push,
    acked: Acked,
) -> (Agreed, Option<StripeCopy>) {
    match acked {
        Acked::Created(reply) => {
            let frozen = frozen(push);
            let agreed = Agreed {
                rev: frozen.stamps.rev().unwrap_or(push.rev),
                external_id: Some(frozen.external_id),
                pushed: Some(frozen.stamps),
                stripe_id: Some(reply.value.stripe_id.clone()),
                base: Some(frozen.fields),
                must_read_again: reply.replayed,
                ..Agreed::default()
            };
            (agreed, fresh(reply))
        }
        Acked::Updated(reply) => {
            let mut base = link.base_or_empty();
            let mut pushed = link.pushed.clone().unwrap_or_default();
            let frozen = frozen(push);
            pushed.put(frozen.stamps);
            for field in push.request.sent_fields() {
                base.set(*field, push.fields.get(*field).map(str::to_owned));
            }
            let agreed = Agreed {
                rev: push.rev,
                pushed: Some(pushed),
                external_id: frozen.external_id.map(|id| canonical(&id)),
                base: Some(base),
                must_read_again: reply.replayed,
                ..Agreed::default()
            };
            (agreed, fresh(reply))
        }
        // Nothing of ours is in Stripe: a customer that we never wrote to is not linked to be deleted.
        Acked::Adopted { by_email: true, .. } if row.is_deleted() => (settled(push), None),
        Acked::Adopted { copy, by_email } => {
            let agreed = Agreed {
                // Nothing was sent: what the row still asks for comes out of the observation.
                rev: 0,
                pushed: (!by_email).then(|| copy.stamps.clone()),
                external_id: (!by_email).then(|| copy.external_id.clone()),
                stripe_id: Some(copy.stripe_id.clone()),
                base: Some(if by_email {
                    Fields::default()
                } else {
                    base_of_ours(&frozen(push), &copy)
                }),
                by_email,
                ..Agreed::default()
            };
            (agreed, Some(copy))
        }
        Acked::Deleted | Acked::NothingThere => {
            let agreed = Agreed {
                is_gone: true,
                ..settled(push)
            };
            (agreed, None)
        }
        Acked::Detached => {
            let agreed = Agreed {
                is_detached: true,
                ..settled(push)
            };
            (agreed, None)
        }
    }
}

fn settled(push: &Push) -> Agreed {
    Agreed {
        rev: push.rev,
        ..Agreed::default()
    }
}

/// A replayed answer shows Stripe as it was at the first attempt: it proves that what we sent has
/// arrived, and nothing else. The customer is read again instead.
fn fresh(reply: Reply<StripeCopy>) -> Option<StripeCopy> {
    (!reply.replayed).then_some(reply.value)
}

fn frozen(push: &Push) -> Frozen {
    match &push.request {
        Request::Create { body, .. } | Request::Update { body, .. } => Frozen::read(body),
        _ => Frozen::default(),
    }
}
