//! What a copy of Stripe's means for our row and its link. Pure: the one place where a value that
//! came from Stripe is judged, whether a scan read it or the answer to a push showed it.
//!
//! The caller holds both locks and has checked the fence: the copy is newer than all that is known.

use entity::conflict;
use entity::email::Email;
use entity::fields::{Field, Fields};
use entity::merge::{Clash, Merged, Owner, Owners, merge};
use entity::message::StripeCopy;
use entity::parked::Reason;
use entity::stamp::Stamps;
use entity::stripe_link::{self, Parked};
use entity::stripe_object::REDACTED;

use crate::frozen::Frozen;
use crate::policy::OnDelete;

pub mod store;

/// What is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides agree already; nothing is written.
    Nothing,
    /// Store the merge.
    Merge(Box<Merge>),
    /// The customer is gone from Stripe; make the row a tombstone.
    Bury,
    /// The customer is gone from Stripe; keep the row and cut the link.
    Detach,
    /// The customer is gone from Stripe and so is the row: nothing is left to do.
    Settle,
    /// A person has to look: nothing is taken.
    Park(Reason),
}

/// The record of what a copy showed, at a rev.
pub(crate) fn parked_at(reason: Reason, rev: i64, copy: &StripeCopy) -> Parked {
    let is_email = matches!(
        reason,
        Reason::EmailRemovedInStripe | Reason::EmailInvalidInStripe | Reason::EmailTaken
    );
    Parked {
        reason: reason.as_str().to_owned(),
        detail: what_happened(reason).to_owned(),
        rev,
        request_id: None,
        stripe_value: copy.fields.email.clone().filter(|_| is_email),
    }
}

fn what_happened(reason: Reason) -> &'static str {
    match reason {
        Reason::DeletedInStripe => "the customer was edited here and deleted in Stripe",
        Reason::DeletionRefused => {
            "the customer was deleted in Stripe together with more others than MAX_DELETES and MAX_DELETE_PERCENT allow"
        }
        Reason::EmailRemovedInStripe => {
            "the e-mail was removed in Stripe, and a customer here has one"
        }
        Reason::EmailInvalidInStripe => {
            "the e-mail in Stripe is not one that a customer here can have"
        }
        Reason::EmailTaken => "another customer here has the e-mail that this one has in Stripe",
        Reason::UnreadableInStripe => {
            "the customer cannot be read in Stripe; nothing of it was taken"
        }
        Reason::Redacted => {
            "a redaction job has removed personal data of the customer in Stripe; nothing of that was taken"
        }
        Reason::LinkReview
        | Reason::UnknownInStripe
        | Reason::Unfinished
        | Reason::Unsendable
        | Reason::Rejected => "Stripe did not take the customer",
    }
}

/// The new state of row and link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    pub row: Fields,
    pub base: Fields,
    pub clashes: Vec<Clash>,
    /// The row equals the base, but for fields that wait for a decision: nothing is left to push.
    pub is_settled: bool,
    /// The e-mail could not be taken; the other fields were.
    pub park: Option<Reason>,
    /// The stamps that Stripe is known to hold.
    pub pushed: Option<Stamps>,
    /// The copy shows that the request in doubt was executed.
    pub ends_doubt: bool,
}

/// What is known on our side when a copy arrives.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub row: &'a Fields,
    pub is_deleted: bool,
    pub rev: i64,
    pub link: &'a stripe_link::Model,
    /// The conflicts that wait for a person's decision already.
    pub open: &'a [conflict::Model],
    /// Another living row has the copy's e-mail.
    pub email_is_taken: bool,
    /// Another Stripe customer could take the place of the deleted one.
    pub has_substitute: bool,
    /// Stripe's side does not name our row and its `external_id` yet: push once more.
    pub must_stamp: bool,
}

/// Judges one copy.
pub fn judge(known: Known<'_>, copy: &StripeCopy, owners: &Owners, on_delete: OnDelete) -> Verdict {
    if copy.deleted {
        return judge_deleted(known, on_delete);
    }
    // The tombstone wins over any copy: the deletion is on its way, or the link is cut.
    if known.is_deleted || known.link.detached_at.is_some() {
        return Verdict::Nothing;
    }
    if copy.unreadable {
        // One that waits for a person already goes on waiting for that.
        let is_waiting = known.link.is_parked_at(known.rev) && !is_parked_by_copy(known.link);
        return match is_waiting || is_parked_for(known, Reason::UnreadableInStripe) {
            true => Verdict::Nothing,
            false => Verdict::Park(Reason::UnreadableInStripe),
        };
    }
    let own = own_writes(known, copy);
    let (merged, park) = merge_usable(known, &own.base, &copy.fields, owners);
    let is_settled = is_settled(&merged) && !known.must_stamp;
    let asks_for_nothing = known.link.base.as_ref() == Some(&merged.base)
        && *known.row == merged.row
        && are_recorded(&merged.clashes, known.open)
        && match park {
            Some(park) => is_parked_for(known, park),
            None => !is_parked_by_copy(known.link),
        }
        && is_settled == (known.link.synced_rev >= known.rev)
        && own.pushed == known.link.pushed
        && !own.ends_doubt;
    if asks_for_nothing {
        return Verdict::Nothing;
    }
    Verdict::Merge(Box::new(Merge {
        is_settled,
        park,
        row: merged.row,
        base: merged.base,
        clashes: merged.clashes,
        pushed: own.pushed,
        ends_doubt: own.ends_doubt,
    }))
}

fn judge_deleted(known: Known<'_>, on_delete: OnDelete) -> Verdict {
    let has_edit_waiting = known.link.synced_rev < known.rev;
    if known.link.detached_at.is_some() {
        return Verdict::Nothing;
    }
    if known.is_deleted {
        return if has_edit_waiting {
            Verdict::Settle
        } else {
            Verdict::Nothing
        };
    }
    if has_edit_waiting || known.has_substitute {
        return if is_parked_for(known, Reason::DeletedInStripe) {
            Verdict::Nothing
        } else {
            Verdict::Park(Reason::DeletedInStripe)
        };
    }
    match on_delete {
        OnDelete::Delete => Verdict::Bury,
        OnDelete::Detach => Verdict::Detach,
    }
}

/// The base of a customer that names our row, when the link to it was not known: what the request in doubt sent to it.
/// The rest was never agreed on in this database, so it is united.
pub(crate) fn base_of_ours(in_doubt: &Frozen, copy: &StripeCopy) -> Fields {
    let mut base = Fields::default();
    for (field, stamp) in copy.stamps.iter() {
        if in_doubt.stamps.get(field) == Some(stamp) {
            base.set(field, in_doubt.fields.get(field).map(str::to_owned));
        }
    }
    base
}

/// What a copy tells of our own writes.
struct OwnWrites {
    /// The base to merge with: what a write of ours has sent is no edit of anybody's.
    base: Fields,
    pushed: Option<Stamps>,
    ends_doubt: bool,
}

/// Only we write the stamps, and each push replaces those of the fields that it sends. So a stamp of the request in
/// doubt says that this one was executed, whatever a person has made of the field since. Any other that is not the
/// one that Stripe was last known to hold is that of a write whose outcome was unknown: an earlier one that has
/// landed after a newer one, or one that landed before its second attempt was given up. For its field Stripe's value
/// becomes the base, and so ours is pushed again. A person's edit on top of it no longer fits the digest; and one who
/// goes back to what a field once was leaves the stamp that is known.
///
/// A stamp that this database has not recorded is of one that was since restored from a backup, whatever revs were
/// handed out again: its value has been lost here, and is an edit. One of a rev before the known one is ours in any
/// case: Stripe has gone back to it.
fn own_writes(known: Known<'_>, copy: &StripeCopy) -> OwnWrites {
    let link = known.link;
    let mut own = OwnWrites {
        base: link.base_or_empty(),
        pushed: link.pushed.clone(),
        ends_doubt: false,
    };
    // Stamps beside another row's id are another row's, or a person's.
    if copy.customer_id != Some(link.customer_id) {
        return own;
    }
    let in_doubt = Frozen::of(link).unwrap_or_default();
    let held = |field: Field| link.pushed.as_ref().and_then(|pushed| pushed.get(field));
    for (field, stamp) in copy.stamps.iter() {
        let is_before = held(field).is_some_and(|known| stamp.rev < known.rev);
        let is_unacknowledged =
            held(field) != Some(stamp) && (is_before || link.wrote(field, stamp));
        let sent = if in_doubt.stamps.get(field) == Some(stamp) {
            own.ends_doubt = true;
            &in_doubt.fields
        } else if is_unacknowledged && stamp.fits(field, &copy.fields) {
            &copy.fields
        } else {
            continue;
        };
        own.base.set(field, sent.get(field).map(str::to_owned));
    }
    own.pushed = Some(copy.stamps.clone());
    own
}

/// Merges what can be taken: a value that a redaction job has removed is no edit, and the other fields are taken.
fn merge_usable(
    known: Known<'_>,
    base: &Fields,
    theirs: &Fields,
    owners: &Owners,
) -> (Merged, Option<Reason>) {
    let is_removed =
        |field: &Field| theirs.get(*field) == Some(REDACTED) && base.get(*field) != Some(REDACTED);
    let removed: Vec<Field> = Field::ALL.into_iter().filter(is_removed).collect();
    if removed.is_empty() {
        return merge_email(known, base, theirs, owners);
    }
    let mut usable = theirs.clone();
    for field in removed {
        usable.set(field, base.get(field).map(str::to_owned));
    }
    let (merged, _) = merge_email(known, base, &usable, owners);
    (merged, Some(Reason::Redacted))
}

/// Merges. An e-mail of Stripe's that the row cannot take stays where it is; the other fields are taken. Where ours has
/// changed as well, it is a conflict that ours wins, whoever the owner is.
fn merge_email(
    known: Known<'_>,
    base: &Fields,
    theirs: &Fields,
    owners: &Owners,
) -> (Merged, Option<Reason>) {
    let merged = merge(base, known.row, theirs, owners);
    if merged.row.email == known.row.email {
        return (merged, None);
    }
    let Some(park) = unusable_email(known, theirs) else {
        return (merged, None);
    };
    if known.row.email != base.email {
        let owners = owners.with(Field::Email, Owner::Database);
        return (merge(base, known.row, theirs, &owners), None);
    }
    let mut usable = theirs.clone();
    usable.email.clone_from(&base.email);
    (merge(base, known.row, &usable, owners), Some(park))
}

fn unusable_email(known: Known<'_>, theirs: &Fields) -> Option<Reason> {
    match &theirs.email {
        None => Some(Reason::EmailRemovedInStripe),
        Some(text) => match Email::parse(text) {
            Err(_) => Some(Reason::EmailInvalidInStripe),
            Ok(_) if known.email_is_taken => Some(Reason::EmailTaken),
            Ok(_) => None,
        },
    }
}

fn is_settled(merged: &Merged) -> bool {
    merged.row.differing(&merged.base).into_iter().all(|field| {
        merged
            .clashes
            .iter()
            .any(|clash| clash.field == field && clash.winner == Owner::Manual)
    })
}

/// Whether the open conflicts are these clashes and no others, with the latest values.
fn are_recorded(clashes: &[Clash], open: &[conflict::Model]) -> bool {
    clashes.len() == open.len()
        && clashes.iter().all(|clash| {
            clash.winner == Owner::Manual
                && open.iter().any(|known| {
                    known.field == clash.field.as_str()
                        && known.database_value == clash.database
                        && known.stripe_value == clash.stripe
                })
        })
}

/// Whether the link is parked for something that a copy of Stripe's showed, and another copy ends.
pub fn is_parked_by_copy(link: &stripe_link::Model) -> bool {
    link.parked().is_some_and(Reason::is_by_copy)
}

fn is_parked_for(known: Known<'_>, park: Reason) -> bool {
    known.link.parked_reason.as_deref() == Some(park.as_str())
        && known.link.parked_rev == Some(known.rev)
}
