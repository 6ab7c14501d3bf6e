//! Whether a failure is one customer's or everybody's. Pure.
//!
//! One customer that always fails is never everybody's trouble: only so many different ones that fail alike,
//! with no other outcome between them, are.

use entity::fields::Field;
use uuid::Uuid;

use crate::outcome::Action;
use crate::stripe::{Failure, FailureKind};

/// So many different customers in a row that fail alike stop the lane. Fewer would let a few bad
/// values pass for a broken configuration; and all of them but the last are retried, or parked.
pub(crate) const ENOUGH: usize = 5;

/// How a push failed, where others may fail alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection, no answer, or one of a server that has an outage.
    Away,
    /// Refused for good, with these words. Such as a version that Stripe does not know, which every
    /// request names.
    Refused {
        status: Option<u16>,
        code: Option<String>,
        param: Option<String>,
    },
    /// The response belongs to another request.
    Mismatched,
}

impl Trouble {
    /// The trouble that a failure may be a part of.
    pub(crate) fn of(action: &Action, failure: &Failure) -> Option<Self> {
        let is_of_the_server = failure.status.is_some_and(|status| status >= 500);
        match (failure.kind, action) {
            (FailureKind::NotSent | FailureKind::Unknown, _) => Some(Self::Away),
            (FailureKind::Mismatched, _) => Some(Self::Mismatched),
            (FailureKind::Answered, _) if is_of_the_server => Some(Self::Away),
            // A value of this customer's: however many have a bad one, each is parked for its own.
            (FailureKind::Answered, Action::Park { .. }) if names_a_field(failure) => None,
            (FailureKind::Answered, Action::Park { .. } | Action::Gone) => Some(Self::Refused {
                status: failure.status,
                code: failure.code.clone(),
                param: failure.param.clone(),
            }),
            // Waiting for our own rate until time is up says nothing of Stripe.
            _ => None,
        }
    }
}

fn names_a_field(failure: &Failure) -> bool {
    let param = failure.param.as_deref().unwrap_or_default();
    param.parse::<Field>().is_ok()
}

/// Counts towards a stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Blame {
    /// The customers that failed alike since anything else was heard.
    streak: Option<(Trouble, Vec<Uuid>)>,
    /// What the lane last stopped for, and how often in a row, while no push has proved it over.
    trial: Option<(Trouble, u32)>,
}

impl Blame {
    /// A customer failed: how often in a row the lane has to stop for it, if it has to.
    pub(super) fn failed(&mut self, customer_id: Uuid, trouble: &Trouble) -> Option<u32> {
        if self.is_on_trial_for(trouble) {
            return Some(self.again(trouble.clone()));
        }
        self.trial = None;
        let customers = match &mut self.streak {
            Some((known, customers)) if known == trouble => customers,
            streak => &mut streak.insert((trouble.clone(), Vec::new())).1,
        };
        if !customers.contains(&customer_id) {
            customers.push(customer_id);
        }
        (customers.len() >= ENOUGH).then(|| self.again(trouble.clone()))
    }

    /// The lane stops for this trouble: how often in a row that makes.
    pub(super) fn again(&mut self, trouble: Trouble) -> u32 {
        let stops = match &self.trial {
            Some((known, stops)) if *known == trouble => stops.saturating_add(1),
            _ => 1,
        };
        self.streak = None;
        self.trial = Some((trouble, stops));
        stops
    }

    /// Stripe answers. Of a refusal that is no proof: something else may come first.
    pub(super) fn answered(&mut self) {
        if self.is_on_trial_for(&Trouble::Away) {
            self.trial = None;
        }
        if let Some((Trouble::Away, _)) = self.streak {
            self.streak = None;
        }
    }

    fn is_on_trial_for(&self, trouble: &Trouble) -> bool {
        self.trial
            .as_ref()
            .is_some_and(|(known, _)| known == trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Operation, action};

    fn refused(code: &str) -> Trouble {
        Trouble::Refused {
            status: Some(400),
            code: Some(code.to_owned()),
            param: None,
        }
    }

    fn fail(blame: &mut Blame, times: usize, trouble: &Trouble) -> Option<u32> {
        let mut stops = None;
        for _ in 0..times {
            stops = blame.failed(Uuid::new_v4(), trouble);
        }
        stops
    }

    #[test]
    fn only_different_customers_in_a_row_stop_the_lane() {
        let mut blame = Blame::default();
        let one = Uuid::new_v4();
        for _ in 0..100 {
            assert_eq!(blame.failed(one, &Trouble::Away), None);
        }
        assert_eq!(fail(&mut blame, ENOUGH - 2, &Trouble::Away), None);
        assert_eq!(fail(&mut blame, 1, &Trouble::Away), Some(1));
    }

    #[test]
    fn an_answer_ends_a_streak_of_silence() {
        let mut blame = Blame::default();
        fail(&mut blame, ENOUGH - 1, &Trouble::Away);
        blame.answered();
        assert_eq!(fail(&mut blame, ENOUGH - 1, &Trouble::Away), None);
        assert_eq!(fail(&mut blame, 1, &refused("version")), None);
        assert_eq!(fail(&mut blame, ENOUGH - 1, &Trouble::Away), None);
    }

    #[test]
    fn only_the_same_refusal_is_everybody_s() {
        let mut blame = Blame::default();
        for _ in 0..ENOUGH {
            assert_eq!(fail(&mut blame, 1, &refused("email_invalid")), None);
            assert_eq!(fail(&mut blame, 1, &refused("phone_invalid")), None);
        }
        assert_eq!(
            fail(&mut blame, ENOUGH - 1, &refused("email_invalid")),
            None
        );
        blame.answered();
        assert_eq!(fail(&mut blame, 1, &refused("email_invalid")), Some(1));
    }

    #[test]
    fn on_trial_one_that_fails_alike_is_enough_and_one_that_fails_otherwise_ends_it() {
        let mut blame = Blame::default();
        assert_eq!(fail(&mut blame, ENOUGH, &Trouble::Away), Some(1));
        assert_eq!(fail(&mut blame, 1, &Trouble::Away), Some(2));
        assert_eq!(blame.again(Trouble::Away), 3);
        assert_eq!(fail(&mut blame, 1, &refused("email_invalid")), None);
        assert_eq!(fail(&mut blame, 1, &Trouble::Away), None);
    }

    fn trouble(operation: Operation, failure: &Failure) -> Option<Trouble> {
        Trouble::of(&action(operation, failure), failure)
    }

    fn answered(status: u16, body: &str) -> Failure {
        Failure::answered(status, body.as_bytes())
    }

    #[test]
    fn what_tells_of_an_outage_and_what_does_not() {
        let away = Some(Trouble::Away);
        for kind in [FailureKind::NotSent, FailureKind::Unknown] {
            assert_eq!(trouble(Operation::Create, &Failure::new(kind, "")), away);
        }
        for status in [500, 502, 503, 504, 520] {
            assert_eq!(trouble(Operation::Update, &answered(status, "")), away);
        }
        for kind in [
            FailureKind::TimedOut,
            FailureKind::Unparsed,
            FailureKind::Unsendable,
        ] {
            assert_eq!(trouble(Operation::Create, &Failure::new(kind, "")), None);
        }
        for status in [401, 403, 409, 424, 429] {
            let body = r#"{"error":{"type":"invalid_request_error"}}"#;
            assert_eq!(trouble(Operation::Create, &answered(status, body)), None);
        }
    }

    #[test]
    fn a_refused_value_is_its_customer_s() {
        for param in ["email", "name", "phone", "description"] {
            let body = format!(
                r#"{{"error":{{"type":"invalid_request_error","param":"{param}","message":"m"}}}}"#
            );
            assert_eq!(trouble(Operation::Create, &answered(400, &body)), None);
        }
    }

    #[test]
    fn refusals_are_alike_by_status_code_and_param() {
        let body =
            r#"{"error":{"type":"invalid_request_error","code":"c","param":"p","message":"m"}}"#;
        let expected = Trouble::Refused {
            status: Some(400),
            code: Some("c".to_owned()),
            param: Some("p".to_owned()),
        };
        assert_eq!(
            trouble(Operation::Create, &answered(400, body)),
            Some(expected)
        );
        let missing = r#"{"error":{"type":"invalid_request_error","code":"resource_missing"}}"#;
        assert!(trouble(Operation::Update, &answered(404, missing)).is_some());
    }
}
