//! Identifiers as Stripe's look: a prefix and a fixed number of random letters and digits. Only the random
//! part is kept, in place, because there may be a million of them.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The random part of an identifier, `N` ASCII letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id<const N: usize>([u8; N]);

impl<const N: usize> Id<N> {
    /// Reads `prefix` followed by exactly `N` letters and digits.
    pub(crate) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let token: [u8; N] = text.strip_prefix(prefix)?.as_bytes().try_into().ok()?;
        token
            .iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(Self(token))
    }

    pub(crate) fn with_prefix(self, prefix: &str) -> String {
        format!("{prefix}{self}")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl<const N: usize> fmt::Debug for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Id<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Id<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse("", &text).ok_or_else(|| de::Error::custom("an identifier of another shape"))
    }
}

/// Draws identifiers; repeatable when seeded.
pub(crate) struct Ids(StdRng);

impl Ids {
    /// `used` tells apart two runs upon the same file with the same seed, which would otherwise draw the
    /// identifiers that are already taken.
    pub(crate) fn new(seed: Option<u64>, used: u64) -> Self {
        Self(match seed {
            Some(seed) => StdRng::seed_from_u64(seed ^ used.rotate_left(32)),
            None => rand::make_rng(),
        })
    }

    pub(crate) fn draw<const N: usize>(&mut self) -> Id<N> {
        Id(std::array::from_fn(|_| {
            ALPHABET[self.0.random_range(0..ALPHABET.len())]
        }))
    }

    pub(crate) fn secret(&mut self) -> String {
        self.draw::<32>().with_prefix("whsec_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_prefix_and_length_parse() {
        assert!(Id::<14>::parse("cus_", "cus_NffrFeUfNV2Hib").is_some());
        assert!(Id::<14>::parse("cus_", "cus_NffrFeUfNV2Hi").is_none());
        assert!(Id::<14>::parse("cus_", "evt_NffrFeUfNV2Hib").is_none());
        assert!(Id::<14>::parse("cus_", "cus_NffrFeUfNV2Hi-").is_none());
    }

    #[test]
    fn a_seed_repeats_and_a_restart_differs() {
        let first = Ids::new(Some(7), 0).draw::<14>();
        assert_eq!(first, Ids::new(Some(7), 0).draw::<14>());
        assert_ne!(first, Ids::new(Some(7), 1).draw::<14>());
    }
}
