//! Why a customer waits for a person, and what that person can do. A pure table: every reason has its text.

/// Why a customer is parked. The code is what is stored, shown and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Edited here and deleted in Stripe. Sending the edit would create a second customer.
    DeletedInStripe,
    /// A full pass found more deletions in Stripe than it may bring home.
    DeletionRefused,
    /// Stripe's customer has lost its e-mail, which a row cannot be without.
    EmailRemovedInStripe,
    /// Stripe's customer has an e-mail that a row cannot have.
    EmailInvalidInStripe,
    /// Stripe's customer has the e-mail of another row.
    EmailTaken,
    /// Stripe's customer cannot be read.
    UnreadableInStripe,
    /// A redaction job has removed personal data of Stripe's customer.
    Redacted,
    /// A customer of Stripe's has the same e-mail, and such links are to be reviewed.
    LinkReview,
    /// The account has no customer by the id that the row is linked to.
    UnknownInStripe,
    /// A process has ended each time that it handled the customer.
    Unfinished,
    /// The values make no request that could be sent.
    Unsendable,
    /// Stripe refused the values. Stored is Stripe's own code where it has one, such as `email_invalid`.
    Rejected,
}

impl Reason {
    pub const ALL: [Self; 12] = [
        Self::DeletedInStripe,
        Self::DeletionRefused,
        Self::EmailRemovedInStripe,
        Self::EmailInvalidInStripe,
        Self::EmailTaken,
        Self::UnreadableInStripe,
        Self::Redacted,
        Self::LinkReview,
        Self::UnknownInStripe,
        Self::Unfinished,
        Self::Unsendable,
        Self::Rejected,
    ];

    /// The stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeletedInStripe => "deleted_in_stripe",
            Self::DeletionRefused => "deletion_refused",
            Self::EmailRemovedInStripe => "email_removed_in_stripe",
            Self::EmailInvalidInStripe => "email_invalid_in_stripe",
            Self::EmailTaken => "email_taken",
            Self::UnreadableInStripe => "unreadable_in_stripe",
            Self::Redacted => "redacted",
            Self::LinkReview => "link_review",
            Self::UnknownInStripe => "unknown_in_stripe",
            Self::Unfinished => "unfinished",
            Self::Unsendable => "unsendable",
            Self::Rejected => "rejected",
        }
    }

    /// The reason behind a stored code. One that is not ours is Stripe's own word for a refusal.
    pub fn of(code: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == code)
            .unwrap_or(Self::Rejected)
    }

    /// Whether a copy of Stripe's showed it, and another copy ends it. It keeps no edit of ours back.
    pub fn is_by_copy(self) -> bool {
        match self {
            Self::DeletionRefused
            | Self::EmailRemovedInStripe
            | Self::EmailInvalidInStripe
            | Self::EmailTaken
            | Self::UnreadableInStripe
            | Self::Redacted => true,
            Self::DeletedInStripe
            | Self::LinkReview
            | Self::UnknownInStripe
            | Self::Unfinished
            | Self::Unsendable
            | Self::Rejected => false,
        }
    }

    /// What a person can do, in one sentence.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::DeletedInStripe => {
                "Link an unmatched Stripe customer with the same e-mail to it, or resolve it with side stripe to \
                 delete the customer here too, or with side database to send it to Stripe anew."
            }
            Self::DeletionRefused => {
                "Make sure that the deletions in Stripe were meant; then accept them all at once, or resolve this \
                 one with side stripe to delete it here, or with side database to create it in Stripe anew."
            }
            Self::EmailRemovedInStripe => {
                "Give the customer an e-mail in Stripe, or resolve it with side database to send the one it has here."
            }
            Self::EmailInvalidInStripe => {
                "Correct the e-mail in Stripe, or resolve it with side database to send the one it has here."
            }
            Self::EmailTaken => {
                "Change the e-mail of one of the two customers, on either side, or resolve it with side database \
                 to keep the one it has here."
            }
            Self::UnreadableInStripe => {
                "Look at the customer in Stripe's dashboard and correct what is odd about it; it is read again with the \
                 next full pass."
            }
            Self::Redacted => {
                "Delete the customer here too if its data is to be forgotten, or resolve it with side database to send \
                 the values it has here to Stripe again."
            }
            Self::LinkReview => {
                "Link the unmatched Stripe customer to this one if the two are the same, or resolve it with side \
                 database to create another customer in Stripe."
            }
            Self::UnknownInStripe => {
                "Make sure that the key is for the account and mode that hold this customer, then retry; or \
                 resolve it with side database to create the customer in Stripe anew, or, if it is deleted here, with \
                 side stripe to leave it at that."
            }
            Self::Unfinished => {
                "Retry it once, and tell the maintainers what the worker's log says if it is parked again."
            }
            Self::Unsendable => {
                "Correct the customer's values here, or resolve it with side stripe to take back the values that \
                 Stripe has."
            }
            Self::Rejected => {
                "Correct the value that Stripe refused, retry once Stripe would take it, or resolve it with side \
                 stripe to take back the values that Stripe has."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_a_sentence() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(reason.as_str()), reason);
            let text = reason.next_step();
            assert!(text.ends_with('.') && text.len() > 40, "{text}");
            assert!(text.matches(". ").count() == 0, "one sentence: {text}");
            assert!(text.starts_with(char::is_uppercase), "{text}");
        }
    }

    #[test]
    fn a_code_that_is_not_ours_is_a_refusal_of_stripes() {
        for code in ["email_invalid", "parameter_invalid_empty", ""] {
            assert_eq!(Reason::of(code), Reason::Rejected);
        }
    }
}
