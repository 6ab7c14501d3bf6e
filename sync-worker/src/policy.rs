//! What an operator decides: who wins, and what a delete on one side means for the other.

use std::str::FromStr;
use std::time::Duration;

use entity::merge::Owners;

/// What the deletion of a customer on one side does to the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// Delete there too. In Stripe that cancels subscriptions at once and cannot be undone.
    #[default]
    Delete,
    /// Leave the other side as it is and cut the link.
    Detach,
}

impl FromStr for OnDelete {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "delete" => Ok(Self::Delete),
            "detach" => Ok(Self::Detach),
            _ => Err("must be delete or detach".to_owned()),
        }
    }
}

/// Whether a row and a Stripe customer that share nothing but the e-mail are linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkByEmail {
    #[default]
    On,
    /// A person decides; until then both stay as they are.
    Review,
}

impl FromStr for LinkByEmail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Self::On),
            "review" => Ok(Self::Review),
            _ => Err("must be on or review".to_owned()),
        }
    }
}

/// How many deletions one full pass may bring home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteCap {
    pub count: u64,
    /// Of the linked customers. Not asked below [`DeleteCap::SMALL`] deletions, or the deletion of one
    /// customer of three would be refused.
    pub percent: u64,
}

impl DeleteCap {
    pub const SMALL: u64 = 10;

    /// Whether so many deletions among so many linked customers are too many to be believed.
    pub fn is_exceeded(&self, deletions: u64, linked: u64) -> bool {
        let too_large_a_share = deletions > Self::SMALL
            && deletions.saturating_mul(100) > linked.saturating_mul(self.percent);
        deletions > self.count || too_large_a_share
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub on_database_delete: OnDelete,
    pub on_stripe_delete: OnDelete,
    pub owners: Owners,
    pub link_by_email: LinkByEmail,
    pub delete_cap: DeleteCap,
    /// Whether the customers that a full pass imports are published.
    pub publish_imports: bool,
    /// How long a customer's timeline is kept.
    pub timeline_kept: Duration,
    /// How many slices of Stripe's customers a full pass reads side by side; with 1 the order of its
    /// requests is certain.
    pub slices_at_once: usize,
    /// Reads of Stripe that a month may cost before it is said that they are too many.
    pub read_budget: Option<i64>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            on_database_delete: OnDelete::default(),
            on_stripe_delete: OnDelete::default(),
            owners: Owners::default(),
            link_by_email: LinkByEmail::default(),
            delete_cap: DeleteCap {
                count: 100,
                percent: 10,
            },
            publish_imports: true,
            timeline_kept: Duration::from_secs(30 * 24 * 3600),
            slices_at_once: 8,
            read_budget: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_deletions_pass_and_a_large_share_does_not() {
        let cap = DeleteCap {
            count: 100,
            percent: 10,
        };
        assert!(!cap.is_exceeded(1, 1));
        assert!(!cap.is_exceeded(10, 20));
        assert!(cap.is_exceeded(11, 20));
        assert!(!cap.is_exceeded(100, 1_000));
        assert!(cap.is_exceeded(101, 1_000_000));
    }
}
