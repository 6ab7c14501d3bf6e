//! Publishes a batch, and says in words what it means when the broker does not take it.

use entity::message::{EXCHANGE, UPSYNC};
use metrics::counter;
use platform::broker::{Message, Outcome, Publisher};

/// Publishes the whole batch: one outcome per message, in their order.
pub(crate) async fn publish(publisher: &mut Publisher, messages: Vec<Message>) -> Vec<Outcome> {
    counter!("relay_published_total").increment(messages.len() as u64);
    publisher.publish(UPSYNC, messages).await
}

/// How many messages of a batch had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) refused: usize,
    pub(crate) returned: usize,
    pub(crate) unknown: usize,
}

impl Tally {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let count = |wanted| {
            outcomes
                .iter()
                .filter(|outcome| **outcome == wanted)
                .count()
        };
        let tally = Self {
            refused: count(Outcome::Refused),
            returned: count(Outcome::Unroutable),
            unknown: count(Outcome::Unknown),
        };
        for (outcome, count) in [
            ("refused", tally.refused),
            ("returned", tally.returned),
            ("unknown", tally.unknown),
        ] {
            counter!("relay_unsettled_total", "outcome" => outcome).increment(count as u64);
        }
        tally
    }

    /// What is wrong and what to do about it. Without the numbers, so that the same trouble is said
    /// once.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.returned > 0 {
            return Some(format!(
                "the broker returns events, because no queue is bound to the exchange {EXCHANGE} by \
                 the key {UPSYNC}: the relay declares queue and binding anew before each attempt, so \
                 find out who removes them (rabbitmqctl list_bindings) and whether AMQP_URL names \
                 the right vhost"
            ));
        }
        if self.refused > 0 {
            return Some(format!(
                "the broker refuses events: look whether the queue {UPSYNC} has reached a length \
                 limit of a policy, or its replicas are away (rabbitmqctl list_queues name messages \
                 policy, rabbitmq-queues quorum_status {UPSYNC})"
            ));
        }
        (self.unknown > 0).then(|| {
            format!(
                "the broker did not confirm what it was sent, or the connection was lost; it is \
                 published again. If this lasts although the broker is up, the queue {UPSYNC} has \
                 no leader (rabbitmq-queues quorum_status {UPSYNC}); one that was lost is declared \
                 anew after rabbitmqctl delete_queue {UPSYNC}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trouble_that_a_person_has_to_mend_comes_first() {
        let trouble = |outcomes: &[Outcome]| Tally::of(outcomes).trouble();
        assert_eq!(trouble(&[Outcome::Confirmed]), None);
        let unknown = trouble(&[Outcome::Confirmed, Outcome::Unknown]);
        assert!(unknown.is_some_and(|text| text.contains("did not confirm")));
        let refused = trouble(&[Outcome::Unknown, Outcome::Refused]);
        assert!(refused.is_some_and(|text| text.contains("refuses")));
        let returned = trouble(&[Outcome::Refused, Outcome::Unroutable]);
        assert!(returned.is_some_and(|text| text.contains("no queue is bound")));
    }

    #[test]
    fn the_same_trouble_is_said_in_the_same_words() {
        let trouble = |outcomes: &[Outcome]| Tally::of(outcomes).trouble();
        assert_eq!(
            trouble(&[Outcome::Unroutable]),
            trouble(&[Outcome::Unroutable, Outcome::Unroutable, Outcome::Confirmed])
        );
    }
}
