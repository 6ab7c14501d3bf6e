//! What one customer asks of Stripe now. Pure: the row, its link and the policy decide, never the
//! message that made us look.

use chrono::{DateTime, Utc};
use entity::fields::Field;
use entity::parked::Reason;
use entity::{customer, stripe_link};

use crate::engine::PUSH_EXPIRY;
use crate::frozen::Frozen;
use crate::observe::is_parked_by_copy;
use crate::poison::MOST;
use crate::policy::OnDelete;

/// Stripe forgets an idempotency key after 24 hours; from an hour earlier on it protects nothing.
const KEY_LIFE: chrono::Duration = chrono::Duration::hours(23);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing newer than what is settled.
    Nothing,
    /// Newer, and yet there is nothing to send: only the link is to say so.
    Settle,
    /// Another push is under way; it looks again when it ends.
    Busy,
    /// A person has to look first.
    Parked,
    /// The process ended each time that it was pushed: a person has to look first.
    Unfinished,
    /// Find it by e-mail, or create it. For a row that was deleted meanwhile it finds out whether the
    /// create was executed.
    Create,
    /// Send these fields and their stamps.
    Update(Vec<Field>),
    Delete,
    /// Leave it in Stripe, marked as let go of.
    Detach,
}

/// Decides. `held` are the fields that wait for a person's decision: they are not sent.
pub fn plan(
    row: &customer::Model,
    link: &stripe_link::Model,
    held: &[Field],
    on_delete: OnDelete,
    now: DateTime<Utc>,
) -> Plan {
    if row.rev <= link.synced_rev {
        return Plan::Nothing;
    }
    if link.push_is_under_way(now, PUSH_EXPIRY) {
        return Plan::Busy;
    }
    if is_blocked(link, row.rev) {
        return Plan::Parked;
    }
    // Whatever it is that ends the process, it does not end it for ever.
    if link.died() >= MOST {
        return Plan::Unfinished;
    }
    if link.detached_at.is_some() {
        return Plan::Settle;
    }
    if link.stripe_id.is_none() {
        // A create whose answer was lost may have been executed: find out before letting go.
        let was_never_sent = link.request_body.is_none();
        return if row.is_deleted() && was_never_sent {
            Plan::Settle
        } else {
            Plan::Create
        };
    }
    if row.is_deleted() {
        return match on_delete {
            OnDelete::Delete => Plan::Delete,
            OnDelete::Detach => Plan::Detach,
        };
    }
    // What was removed from Stripe on purpose is not written there again unless a person says so.
    if link.parked() == Some(Reason::Redacted) {
        return Plan::Parked;
    }
    let differing = row.fields().differing(&link.base_or_empty());
    // What an update in doubt has sent may be in Stripe already, whatever the base says: it is sent again.
    let in_doubt = Frozen::of(link).unwrap_or_default();
    let sent: Vec<Field> = Field::ALL
        .into_iter()
        .filter(|field| differing.contains(field) || in_doubt.sends(*field))
        .filter(|field| !held.contains(field))
        .collect();
    // A link that no write of ours has stamped yet is stamped, so that Stripe's side names our row.
    let is_named = link.pushed.is_some() && external_id(row, link, &in_doubt).is_none();
    if sent.is_empty() && is_named {
        return Plan::Settle;
    }
    Plan::Update(sent)
}

/// The `external_id` to send: the row's, if Stripe may have another one; empty where the row has none.
pub(super) fn external_id(
    row: &customer::Model,
    link: &stripe_link::Model,
    in_doubt: &Frozen,
) -> Option<String> {
    let is_known = row.external_id == link.external_id;
    let wanted = row.external_id.clone().unwrap_or_default();
    let is_in_doubt = in_doubt.external_id.is_some();
    (!is_known || is_in_doubt).then_some(wanted)
}

/// Whether a person has to look before `rev` is sent. What a copy of Stripe's showed, such as an e-mail
/// that the row cannot have, is no reason to keep our own edits back.
pub fn is_blocked(link: &stripe_link::Model, rev: i64) -> bool {
    link.is_parked_at(rev) && !is_parked_by_copy(link)
}

/// Whether the key that the link remembers still stands for the same request in Stripe.
pub fn key_is_alive(link: &stripe_link::Model, now: DateTime<Utc>) -> bool {
    link.request_key.is_some()
        && link
            .request_started_at
            .is_some_and(|started| started <= now && now - started < KEY_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;
    use entity::fields::Fields;
    use entity::stamp::{Stamp, Stamps};
    use uuid::Uuid;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn row(rev: i64, name: &str) -> customer::Model {
        customer::Model {
            id: Uuid::nil(),
            email: "a@x.io".into(),
            email_key: "a@x.io".into(),
            name: Some(name.into()),
            phone: None,
            description: None,
            external_id: None,
            rev,
            change_xid: 0,
            deleted_at: None,
            created_at: at(0),
            updated_at: at(0),
        }
    }

    fn link(synced_rev: i64) -> stripe_link::Model {
        stripe_link::Model {
            customer_id: Uuid::nil(),
            stripe_id: None,
            stripe_created: None,
            fingerprint: None,
            base: None,
            synced_rev,
            external_id: None,
            pushed: (synced_rev > 0).then(Stamps::default),
            sent_log: None,
            request_body: None,
            request_key: None,
            request_started_at: None,
            doubt_since: None,
            push_rev: None,
            push_token: None,
            push_started_at: None,
            takeovers: 0,
            acked_at: None,
            acked_order: None,
            observed_at: None,
            observed_order: None,
            attempts: 0,
            next_attempt_at: None,
            recheck_at: None,
            parked_reason: None,
            parked_detail: None,
            parked_rev: None,
            parked_request_id: None,
            parked_at: None,
            parked_stripe_value: None,
            parked_dismissed_at: None,
            detached_at: None,
            created_at: at(0),
            updated_at: at(0),
        }
    }

    fn linked(synced_rev: i64, base: Fields) -> stripe_link::Model {
        stripe_link::Model {
            stripe_id: Some("cus_1".into()),
            base: Some(base),
            ..link(synced_rev)
        }
    }

    fn decide(row: &customer::Model, link: &stripe_link::Model) -> Plan {
        plan(row, link, &[], OnDelete::Delete, at(100))
    }

    #[test]
    fn only_a_newer_rev_is_pushed() {
        assert_eq!(decide(&row(3, "a"), &link(3)), Plan::Nothing);
        assert_eq!(decide(&row(3, "a"), &link(2)), Plan::Create);
    }

    #[test]
    fn one_push_at_a_time_and_a_dead_one_is_taken_over() {
        let mut busy = link(0);
        busy.push_started_at = Some(at(99));
        assert_eq!(decide(&row(1, "a"), &busy), Plan::Busy);
        busy.push_started_at = Some(at(100) - PUSH_EXPIRY);
        assert_eq!(decide(&row(1, "a"), &busy), Plan::Create);
    }

    #[test]
    fn a_push_that_died_too_often_is_given_up() {
        let mut link = link(0);
        link.push_token = Some(Uuid::nil());
        link.push_started_at = Some(at(0));
        link.takeovers = MOST - 2;
        assert_eq!(decide(&row(1, "a"), &link), Plan::Create);
        link.takeovers = MOST - 1;
        assert_eq!(decide(&row(1, "a"), &link), Plan::Unfinished);
        link.push_started_at = Some(at(99));
        assert_eq!(decide(&row(1, "a"), &link), Plan::Busy);
    }

    #[test]
    fn an_edit_un_parks() {
        let mut parked = link(1);
        parked.parked_reason = Some("email_invalid".into());
        parked.parked_rev = Some(2);
        assert_eq!(decide(&row(2, "a"), &parked), Plan::Parked);
        assert_eq!(decide(&row(3, "a"), &parked), Plan::Create);
    }

    #[test]
    fn only_what_differs_from_the_base_is_sent() {
        let base = row(1, "old").fields();
        let changed = row(2, "new");
        assert_eq!(
            decide(&changed, &linked(1, base.clone())),
            Plan::Update(vec![Field::Name])
        );
        assert_eq!(
            plan(
                &changed,
                &linked(1, base),
                &[Field::Name],
                OnDelete::Delete,
                at(0)
            ),
            Plan::Settle
        );
        assert_eq!(decide(&changed, &linked(1, changed.fields())), Plan::Settle);
    }

    #[test]
    fn what_was_sent_in_doubt_is_sent_again_though_it_equals_the_base() {
        let taken_back = row(3, "old");
        let mut link = linked(1, taken_back.fields());
        let stamp = Stamp::of((2, Uuid::nil()), Field::Name, &row(2, "new").fields());
        link.request_body = Some(format!("metadata[customer_sync_rev_name]={stamp}&name=new"));
        assert_eq!(decide(&taken_back, &link), Plan::Update(vec![Field::Name]));
    }

    #[test]
    fn a_park_by_stripes_copy_keeps_no_edit_back() {
        let mut parked = linked(1, row(1, "a").fields());
        parked.parked_rev = Some(2);
        parked.parked_reason = Some("email_taken".into());
        assert_eq!(
            decide(&row(2, "b"), &parked),
            Plan::Update(vec![Field::Name])
        );
        parked.parked_reason = Some("deleted_in_stripe".into());
        assert_eq!(decide(&row(2, "b"), &parked), Plan::Parked);
    }

    #[test]
    fn a_link_without_a_stamp_is_stamped() {
        let known = row(1, "a");
        assert_eq!(
            decide(&known, &linked(0, known.fields())),
            Plan::Update(vec![])
        );
    }

    #[test]
    fn a_deleted_row_is_deleted_by_policy_and_never_created() {
        let mut deleted = row(2, "a");
        deleted.deleted_at = Some(at(1));
        let known = linked(1, Fields::default());
        assert_eq!(decide(&deleted, &known), Plan::Delete);
        let detach = plan(&deleted, &known, &[], OnDelete::Detach, at(0));
        assert_eq!(detach, Plan::Detach);
        assert_eq!(decide(&deleted, &link(0)), Plan::Settle);
        let mut in_doubt = link(0);
        in_doubt.request_body = Some("name=a".into());
        assert_eq!(decide(&deleted, &in_doubt), Plan::Create);
    }

    #[test]
    fn a_cut_link_stays_cut() {
        let mut cut = linked(1, Fields::default());
        cut.detached_at = Some(at(1));
        assert_eq!(decide(&row(2, "a"), &cut), Plan::Settle);
    }

    #[test]
    fn a_key_is_trusted_for_23_hours() {
        let mut sent = link(0);
        assert!(!key_is_alive(&sent, at(0)));
        sent.request_key = Some(Uuid::nil());
        sent.request_started_at = Some(at(0));
        assert!(key_is_alive(&sent, at(0) + Duration::hours(22)));
        assert!(!key_is_alive(&sent, at(0) + Duration::hours(23)));
        // It was first used before the clock was set back, nobody knows how long ago.
        assert!(!key_is_alive(&sent, at(-1)));
    }
}
