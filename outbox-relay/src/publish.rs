//! What the outcomes of publishing come to, and in words what it means when the broker does not take
//! an event.

use entity::message::{EXCHANGE, UPSYNC};
use metrics::counter;
use platform::broker::{Broker, Outcome};

/// How many messages had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) refused: usize,
    pub(crate) returned: usize,
    pub(crate) unknown: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        let (count, name) = match outcome {
            Outcome::Confirmed => return,
            Outcome::Refused => (&mut self.refused, "refused"),
            Outcome::Unroutable => (&mut self.returned, "returned"),
            Outcome::Unknown => (&mut self.unknown, "unknown"),
        };
        *count += 1;
        counter!("relay_unsettled_total", "outcome" => name).increment(1);
    }

    /// What is wrong and what to do about it. Without the numbers, so that the same trouble is said
    /// once.
    pub(crate) fn trouble(&self, broker: &Broker) -> Option<String> {
        match broker {
            Broker::RabbitMq(_) => self.rabbitmq_trouble(),
            Broker::InProcess(_) => self.in_process_trouble(),
        }
    }

    fn in_process_trouble(&self) -> Option<String> {
        let is_any = self.refused + self.returned + self.unknown > 0;
        is_any.then(|| {
            "the worker in this process has not finished with some events in time; they are delivered again, and the \
             worker's own health says why it does not go on"
                .to_owned()
        })
    }

    fn rabbitmq_trouble(&self) -> Option<String> {
        if self.returned > 0 {
            return Some(format!(
                "the broker returns events, because no queue is bound to the exchange \
                 {EXCHANGE}.internal by their routing keys: the relay declares the queue {UPSYNC} and \
                 its bindings before each attempt, so find out who removes them (rabbitmqctl \
                 list_bindings) and whether AMQP_URL names the right vhost"
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
                 no leader (rabbitmq-queues quorum_status {UPSYNC}), and one that was lost is declared \
                 anew after rabbitmqctl delete_queue {UPSYNC}; or the user of AMQP_URL may not write to \
                 the exchange {EXCHANGE}.internal (rabbitmqctl list_permissions)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally::default();
        outcomes.iter().for_each(|outcome| tally.add(*outcome));
        tally
    }

    fn trouble(outcomes: &[Outcome]) -> Option<String> {
        tally(outcomes).rabbitmq_trouble()
    }

    #[test]
    fn the_trouble_that_a_person_has_to_mend_comes_first() {
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
        assert_eq!(
            trouble(&[Outcome::Unroutable]),
            trouble(&[Outcome::Unroutable, Outcome::Unroutable, Outcome::Confirmed])
        );
    }

    #[test]
    fn in_process_broker_gives_no_rabbitmq_advice() {
        let topology = platform::broker::Topology {
            exchange: EXCHANGE,
            queues: &[(UPSYNC, &[])],
        };
        let broker = Broker::in_process(&topology);
        assert_eq!(tally(&[Outcome::Confirmed]).trouble(&broker), None);
        for outcome in [Outcome::Unknown, Outcome::Refused, Outcome::Unroutable] {
            let text = tally(&[outcome]).trouble(&broker).unwrap();
            let text = text.to_lowercase();
            for word in ["rabbit", "amqp", "queue", "confirm"] {
                assert!(!text.contains(word), "{text}");
            }
        }
    }
}
