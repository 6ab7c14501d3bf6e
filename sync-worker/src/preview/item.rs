//! What is to be done about one customer, and what it was looked at as: the items of a plan.

use entity::fields::{Field, Fields};
use entity::message::StripeCopy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where a step takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Database,
    Stripe,
}

/// A field and its values before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub field: Field,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// One thing that is done, or not done and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    Create {
        on: Side,
        fields: Fields,
    },
    Update {
        on: Side,
        changes: Vec<Change>,
    },
    /// An update that changes the e-mail.
    Rename {
        on: Side,
        changes: Vec<Change>,
    },
    Delete {
        on: Side,
    },
    /// The other side's customer is gone or let go of; this side keeps its own, and the link is cut.
    Detach {
        on: Side,
    },
    /// A row and a Stripe customer that were there become one.
    Link,
    /// Stripe's customer is given our id, and no other value.
    Mark,
    /// Both sides agree already; that is only written down.
    Settle,
    /// Both sides changed a field. The winner's value is used; none wins while a person is to decide.
    Conflict {
        field: Field,
        base: Option<String>,
        database: Option<String>,
        stripe: Option<String>,
        winner: Option<Side>,
    },
    /// Not done until a person has looked: a stable code, and what that person can do.
    Refuse {
        reason: String,
        next_step: String,
    },
    /// A push is under way, or its outcome is not known yet; the worker looks again by itself.
    Wait,
}

/// What an item was made of. If any of it is different by now, the item is stale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Was {
    pub rev: Option<i64>,
    pub synced_rev: Option<i64>,
    /// The digest of Stripe's copy; none where there was no copy to be had.
    pub copy: Option<String>,
}

/// What is to be done about one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// None for a customer that only Stripe has.
    pub customer_id: Option<Uuid>,
    /// None for a customer that Stripe has not.
    pub stripe_id: Option<String>,
    /// So that people know whom it is about.
    pub email: Option<String>,
    pub was: Was,
    /// Of customers that concern each other, such as two with one e-mail: they are done together, in one transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together: Option<Together>,
    /// In the order in which they are done.
    pub steps: Vec<Step>,
}

/// The place of an item among those that are done together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Together {
    /// The same for all of them.
    pub group: u64,
    pub place: usize,
}

impl Step {
    pub(super) fn update(on: Side, changes: Vec<Change>) -> Self {
        if changes.iter().any(|change| change.field == Field::Email) {
            Self::Rename { on, changes }
        } else {
            Self::Update { on, changes }
        }
    }

    /// Whether it changes anything: refusals, open conflicts and waiting do not.
    pub fn is_done(&self) -> bool {
        !matches!(
            self,
            Self::Refuse { .. } | Self::Wait | Self::Conflict { winner: None, .. }
        )
    }

    /// Whether it is done by a push.
    pub fn is_pushed(&self) -> bool {
        match self {
            Self::Create { on, .. }
            | Self::Update { on, .. }
            | Self::Rename { on, .. }
            | Self::Delete { on }
            | Self::Detach { on } => *on == Side::Stripe,
            Self::Mark => true,
            Self::Link
            | Self::Settle
            | Self::Conflict { .. }
            | Self::Refuse { .. }
            | Self::Wait => false,
        }
    }

    /// Whether a customer here is deleted, or its link cut, because it is gone from Stripe.
    pub fn is_deletion_brought_home(&self) -> bool {
        let (Self::Delete { on } | Self::Detach { on }) = self else {
            return false;
        };
        *on == Side::Database
    }
}

impl Item {
    /// Whether there is anything to do about it that needs no person.
    pub fn is_done(&self) -> bool {
        self.steps.iter().any(Step::is_done)
    }
}

/// The values that change between two sets of them.
pub(super) fn changes(from: &Fields, to: &Fields, fields: &[Field]) -> Vec<Change> {
    let change = |field: &Field| Change {
        field: *field,
        from: from.get(*field).map(str::to_owned),
        to: to.get(*field).map(str::to_owned),
    };
    fields.iter().map(change).collect()
}

/// 16 hex characters that tell a copy from any other: the start of a SHA-256.
pub(super) fn digest(copy: &StripeCopy) -> String {
    let text = serde_json::to_vec(copy).expect("a copy is texts, numbers and truth values");
    hex::encode(&Sha256::digest(text)[..8])
}
