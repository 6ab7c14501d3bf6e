//! Live or test mode: what the key's prefix says, else what the first object shows. Every object is compared with it.

use std::sync::{Arc, OnceLock};

use super::answer::Invalid;

/// Clones share what is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Mode(Arc<OnceLock<bool>>);

impl Mode {
    /// By the prefix: `sk_live_`, `rk_live_`, `sk_test_` or `rk_test_`.
    pub(super) fn of_key(key: &str) -> Self {
        let mode = Self::default();
        if let Some(livemode) = prefix(key) {
            mode.expect(livemode);
        }
        mode
    }

    pub(super) fn livemode(&self) -> Option<bool> {
        self.0.get().copied()
    }

    /// From now on objects have to be of this mode, unless another one is known already.
    pub(super) fn expect(&self, livemode: bool) {
        self.0.get_or_init(|| livemode);
    }

    /// Whether an object of this mode is one of ours. One that does not name its mode is.
    pub(super) fn admits(&self, shown: Option<bool>) -> bool {
        shown.is_none_or(|shown| *self.0.get_or_init(|| shown) == shown)
    }

    pub(super) fn check(&self, shown: Option<bool>) -> Result<(), Invalid> {
        if self.admits(shown) {
            Ok(())
        } else {
            Err(Invalid::Mismatched(
                "an object of the other mode".to_owned(),
            ))
        }
    }
}

fn prefix(key: &str) -> Option<bool> {
    let (_, rest) = key.split_once('_')?;
    if rest.starts_with("live_") {
        Some(true)
    } else {
        rest.starts_with("test_").then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_a_key_says_its_mode() {
        for (key, expected) in [
            ("sk_live_1", Some(true)),
            ("rk_live_1", Some(true)),
            ("sk_test_1", Some(false)),
            ("rk_test_1", Some(false)),
            ("secret", None),
            ("sk_other_1", None),
        ] {
            assert_eq!(Mode::of_key(key).livemode(), expected, "{key}");
        }
    }

    #[test]
    fn object_of_the_other_mode_is_refused() {
        let mode = Mode::of_key("sk_test_1");
        assert!(mode.admits(Some(false)) && mode.admits(None));
        assert!(!mode.admits(Some(true)) && mode.check(Some(true)).is_err());
    }

    #[test]
    fn unknown_mode_is_that_of_the_first_object() {
        let mode = Mode::of_key("secret");
        assert!(mode.admits(None));
        assert_eq!(mode.livemode(), None);
        assert!(mode.admits(Some(true)));
        assert!(!mode.admits(Some(false)));
        mode.expect(false);
        assert_eq!(mode.livemode(), Some(true));
    }
}
