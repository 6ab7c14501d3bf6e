//! What became of each message, told from the confirms and returns that came back. Only a message
//! that is confirmed and that no return names counts as published.

use std::collections::{HashSet, VecDeque};

use lapin::Confirmation;
use lapin::types::ShortString;
use tokio::time::Instant;

use super::super::Outcome;

/// The messages in flight, in the order in which they were sent.
///
/// A return names its message, but it may hang on the confirm of another: lapin hands the oldest
/// return to whichever confirm it completes first, and an ack for several completes them in no
/// order. A return always precedes the ack of its own message; hence a confirm that carries no
/// return found none waiting, its own included, and the confirm that took that one was complete
/// before it. So the caller completes every message whose confirm is there before it asks what is
/// known. A confirm that carries the return of another message proves nothing about its own until
/// no confirm is missing.
#[derive(Default)]
pub(super) struct Window {
    messages: VecDeque<Sent>,
    /// The number of the first of them.
    first: u64,
    /// Of those, the ones whose confirm is missing.
    missing: usize,
    returned: HashSet<ShortString>,
}

struct Sent {
    id: ShortString,
    give_up_at: Instant,
    confirm: Option<Confirm>,
}

#[derive(Clone, Copy)]
enum Confirm {
    Ack,
    /// It carries the return of some message.
    AckWithReturn,
    Nack,
    /// The connection or the channel has failed.
    Failed,
}

impl Window {
    /// Adds a message; returns its number.
    pub(super) fn push(&mut self, id: ShortString, give_up_at: Instant) -> u64 {
        self.messages.push_back(Sent {
            id,
            give_up_at,
            confirm: None,
        });
        self.missing += 1;
        self.first + self.messages.len() as u64 - 1
    }

    /// Notes what came back for a message; `None` is a failure.
    pub(super) fn complete(&mut self, number: u64, confirmation: Option<Confirmation>) {
        let confirm = match &confirmation {
            Some(Confirmation::Ack(None)) => Confirm::Ack,
            Some(Confirmation::Ack(Some(_))) => Confirm::AckWithReturn,
            Some(Confirmation::Nack(_)) => Confirm::Nack,
            // The channel asked for confirms, so the former does not happen; if it did, it would
            // prove nothing.
            Some(Confirmation::NotRequested) | None => Confirm::Failed,
        };
        if let Some(returned) = confirmation.and_then(Confirmation::take_message) {
            self.returned
                .extend(returned.properties.message_id().clone());
        }
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let sent = place.and_then(|place| self.messages.get_mut(place));
        if let Some(sent) = sent
            && sent.confirm.is_none()
        {
            sent.confirm = Some(confirm);
            self.missing -= 1;
        }
    }

    /// When the oldest message without a confirm is given up; none if none is missing.
    pub(super) fn give_up_at(&self) -> Option<Instant> {
        let oldest = self.messages.iter().find(|sent| sent.confirm.is_none());
        oldest.map(|sent| sent.give_up_at)
    }

    /// Takes out the oldest messages whose outcomes are known.
    pub(super) fn known(&mut self) -> Vec<Outcome> {
        let mut known = Vec::new();
        while let Some(oldest) = self.messages.front()
            && let Some(outcome) = self.outcome(oldest)
        {
            known.push(outcome);
            self.pop();
        }
        known
    }

    /// Takes out all messages; what is not known by now is unknown.
    pub(super) fn give_up(&mut self) -> Vec<Outcome> {
        let outcomes = self.messages.iter();
        let outcomes = outcomes.map(|sent| self.outcome(sent).unwrap_or(Outcome::Unknown));
        let outcomes = outcomes.collect();
        while !self.messages.is_empty() {
            self.pop();
        }
        outcomes
    }

    fn outcome(&self, sent: &Sent) -> Option<Outcome> {
        match sent.confirm? {
            Confirm::Failed => Some(Outcome::Unknown),
            _ if self.returned.contains(&sent.id) => Some(Outcome::Unroutable),
            Confirm::Ack => Some(Outcome::Confirmed),
            Confirm::AckWithReturn => (self.missing == 0).then_some(Outcome::Confirmed),
            Confirm::Nack => Some(Outcome::Refused),
        }
    }

    fn pop(&mut self) {
        let Some(sent) = self.messages.pop_front() else {
            return;
        };
        self.first += 1;
        if sent.confirm.is_none() {
            self.missing -= 1;
        }
        if self.messages.is_empty() {
            self.returned.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use lapin::BasicProperties;
    use lapin::message::{BasicReturnMessage, Delivery};
    use proptest::prelude::*;

    use super::*;

    fn window(messages: usize) -> Window {
        let mut window = Window::default();
        for id in 0..messages {
            assert_eq!(
                window.push(id.to_string().into(), Instant::now()),
                id as u64
            );
        }
        window
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
    fn a_return_counts_against_its_own_message_only() {
        let mut window = window(3);
        for (number, confirm) in [ack(Some(1)), ack(None), ack(None)].into_iter().enumerate() {
            window.complete(number as u64, confirm);
        }
        assert_eq!(
            window.known(),
            [Outcome::Confirmed, Outcome::Unroutable, Outcome::Confirmed]
        );
        assert!(window.returned.is_empty() && window.give_up_at().is_none());
    }

    #[test]
    fn an_ack_with_another_return_waits_for_the_missing_confirms() {
        let mut window = window(3);
        window.complete(0, ack(Some(1)));
        window.complete(2, ack(None));
        assert_eq!(window.known(), []);
        assert_eq!(
            window.give_up(),
            [Outcome::Unknown, Outcome::Unknown, Outcome::Confirmed]
        );
    }

    #[test]
    fn outcomes_are_reported_in_the_order_of_sending() {
        let mut window = window(3);
        window.complete(1, ack(None));
        assert_eq!(window.known(), []);
        window.complete(0, ack(None));
        assert_eq!(window.known(), [Outcome::Confirmed, Outcome::Confirmed]);
        assert_eq!(window.push("3".into(), Instant::now()), 3);
        window.complete(3, ack(None));
        window.complete(2, None);
        assert_eq!(window.known(), [Outcome::Unknown, Outcome::Confirmed]);
    }

    #[test]
    fn a_nack_is_refused_unless_it_was_returned() {
        let nack = |of: Option<usize>| Some(Confirmation::Nack(of.map(returned)));
        let mut refused = window(2);
        refused.complete(0, nack(None));
        refused.complete(1, ack(None));
        assert_eq!(refused.known(), [Outcome::Refused, Outcome::Confirmed]);
        let mut unroutable = window(2);
        unroutable.complete(0, ack(Some(0)));
        unroutable.complete(1, nack(None));
        assert_eq!(unroutable.known(), [Outcome::Unroutable, Outcome::Refused]);
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
            let mut window = window(fates.len());
            let confirms = confirms(&fates, heard);
            let acked: Vec<bool> = confirms.iter().map(Option::is_some).collect();
            let complete = acked.iter().all(|acked| *acked);
            for (number, confirm) in confirms.into_iter().enumerate() {
                if confirm.is_some() {
                    window.complete(number as u64, confirm);
                }
            }
            let mut outcomes = window.known();
            prop_assert!(!outcomes.contains(&Outcome::Unknown));
            outcomes.extend(window.give_up());
            prop_assert_eq!(outcomes.len(), fates.len());
            for (index, outcome) in outcomes.into_iter().enumerate() {
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
