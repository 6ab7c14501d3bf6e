//! What became of each message of a batch, told from the confirms and returns that came back for
//! it. Only a message that is confirmed and that no return names counts as published.

use std::collections::HashSet;

use lapin::Confirmation;
use lapin::types::ShortString;

use super::super::{Message, Outcome};
use super::headers;

/// The outcomes of `batch`, given what came back for each of its messages before the time was up
/// (`None`: nothing, or an error).
///
/// A return names its message, but it may hang on the confirm of another: lapin hands the oldest
/// return to whichever confirm it completes first, and an ack for several completes them in no
/// order. So returns are collected over the whole batch. A return always precedes the ack of its
/// own message; hence a confirm that carries no return found none waiting, its own included, and
/// whoever took that one before it is among `confirms`. A confirm that carries a stranger's return
/// proves nothing about its own message until every confirm is in.
pub(super) fn outcomes(batch: &[Message], confirms: Vec<Option<Confirmation>>) -> Vec<Outcome> {
    let returned: HashSet<ShortString> = confirms.iter().filter_map(returned_id).collect();
    let complete = confirms.iter().all(Option::is_some);
    let outcome = |(message, confirm): (&Message, Option<Confirmation>)| match confirm {
        None => Outcome::Unknown,
        Some(_) if returned.contains(&headers::message_id(message)) => Outcome::Unroutable,
        Some(Confirmation::Ack(None)) => Outcome::Confirmed,
        Some(Confirmation::Ack(Some(_))) if complete => Outcome::Confirmed,
        Some(Confirmation::Ack(Some(_))) => Outcome::Unknown,
        Some(Confirmation::Nack(_)) => Outcome::Refused,
        // The channel asked for confirms, so this does not happen; if it did, it would prove
        // nothing.
        Some(Confirmation::NotRequested) => Outcome::Unknown,
    };
    batch.iter().zip(confirms).map(outcome).collect()
}

fn returned_id(confirm: &Option<Confirmation>) -> Option<ShortString> {
    match confirm {
        Some(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned))) => {
            returned.properties.message_id().clone()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use chrono::DateTime;
    use lapin::BasicProperties;
    use lapin::message::{BasicReturnMessage, Delivery};
    use proptest::prelude::*;

    use super::super::super::Bytes;
    use super::*;

    fn message(id: usize) -> Message {
        Message {
            id: id.to_string(),
            kind: String::new(),
            source: String::new(),
            subject: String::new(),
            time: DateTime::UNIX_EPOCH,
            traceparent: None,
            body: Bytes::new(),
        }
    }

    fn returned(id: usize) -> BasicReturnMessage {
        let mut delivery = Delivery::mock(0, "".into(), "".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.to_string().into());
        BasicReturnMessage {
            delivery,
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
        }
    }

    fn ack(of: Option<usize>) -> Option<Confirmation> {
        Some(Confirmation::Ack(of.map(returned)))
    }

    #[test]
    fn a_return_counts_against_its_own_message_and_not_the_one_it_hangs_on() {
        let batch = [message(0), message(1), message(2)];
        let outcomes = outcomes(&batch, vec![ack(Some(1)), ack(None), ack(None)]);
        assert_eq!(
            outcomes,
            [Outcome::Confirmed, Outcome::Unroutable, Outcome::Confirmed]
        );
    }

    #[test]
    fn one_that_carries_a_stranger_s_return_is_unknown_while_confirms_are_missing() {
        let batch = [message(0), message(1), message(2)];
        let outcomes = outcomes(&batch, vec![ack(Some(1)), None, ack(None)]);
        assert_eq!(
            outcomes,
            [Outcome::Unknown, Outcome::Unknown, Outcome::Confirmed]
        );
    }

    #[test]
    fn a_nack_is_refused_unless_it_was_returned() {
        let batch = [message(0), message(1)];
        let nack = |of: Option<usize>| Some(Confirmation::Nack(of.map(returned)));
        assert_eq!(
            outcomes(&batch, vec![nack(None), ack(None)]),
            [Outcome::Refused, Outcome::Confirmed]
        );
        assert_eq!(
            outcomes(&batch, vec![ack(Some(0)), nack(None)]),
            [Outcome::Unroutable, Outcome::Refused]
        );
    }

    /// One message on its way: whether no queue takes it, whether its ack covers all before it as
    /// well, and a number that decides in which order such an ack is gone through.
    type Fate = (bool, bool, u32);

    /// What lapin makes of `fates` when the first `heard` acks arrive.
    fn confirms(fates: &[Fate], heard: usize) -> Vec<Option<Confirmation>> {
        let mut confirms: Vec<Option<Confirmation>> = fates.iter().map(|_| None).collect();
        let (mut pending, mut waiting) = (Vec::new(), VecDeque::new());
        for (tag, &(unroutable, multiple, _)) in fates.iter().enumerate().take(heard) {
            pending.push(tag);
            if unroutable {
                waiting.push_back(tag);
            }
            let last = tag + 1 == fates.len();
            if multiple || last {
                pending.sort_by_key(|tag| fates[*tag].2);
                for tag in pending.drain(..) {
                    confirms[tag] = ack(waiting.pop_front());
                }
            } else if fates[tag].2.is_multiple_of(2) {
                pending.retain(|other| *other != tag);
                confirms[tag] = ack(waiting.pop_front());
            }
        }
        confirms
    }

    proptest! {
        #[test]
        fn what_counts_as_published_was_routed_and_acked(
            fates in proptest::collection::vec(any::<Fate>(), 1..40),
            heard in 0_usize..60,
        ) {
            let batch: Vec<Message> = (0..fates.len()).map(message).collect();
            let confirms = confirms(&fates, heard);
            let acked: Vec<bool> = confirms.iter().map(Option::is_some).collect();
            let complete = acked.iter().all(|acked| *acked);
            for (index, outcome) in outcomes(&batch, confirms).into_iter().enumerate() {
                let unroutable = fates[index].0;
                match outcome {
                    Outcome::Confirmed => prop_assert!(acked[index] && !unroutable),
                    Outcome::Unroutable => prop_assert!(acked[index] && unroutable),
                    Outcome::Unknown => prop_assert!(!complete),
                    Outcome::Refused => prop_assert!(false, "nothing was nacked"),
                }
            }
        }
    }
}
