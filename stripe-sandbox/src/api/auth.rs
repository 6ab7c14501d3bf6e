//! Keys: `Authorization: Bearer sk_test_…`, or Basic with the key as the user name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::call::Call;
use crate::options::Options;
use crate::wire::error::Error;

pub(crate) fn check(options: &Options, call: &Call) -> Result<(), Error> {
    let Some(key) = call.authorization.as_deref().and_then(key) else {
        return Err(Error::invalid(
            401,
            "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
        ));
    };
    if key.starts_with("pk_") {
        let message = "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.";
        return Err(Error::invalid(401, message).code("secret_key_required"));
    }
    if !accepted(options, &key) {
        return Err(Error::invalid(
            401,
            format!("Invalid API Key provided: {}", masked(&key)),
        ));
    }
    match &call.account {
        Some(account) if *account != options.account_id => {
            let message = format!(
                "The provided key '{}' does not have access to account '{account}' (or that account does not exist). Application access may have been revoked.",
                masked(&key)
            );
            Err(Error::invalid(403, message).code("account_invalid"))
        }
        _ => Ok(()),
    }
}

fn accepted(options: &Options, key: &str) -> bool {
    if options.api_keys.is_empty() {
        let mode = if options.livemode { "live_" } else { "test_" };
        let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"));
        let token = rest.and_then(|rest| rest.strip_prefix(mode));
        return token.is_some_and(|token| !token.is_empty());
    }
    options
        .api_keys
        .iter()
        .any(|known| bool::from(known.as_bytes().ct_eq(key.as_bytes())))
}

fn key(header: &str) -> Option<String> {
    let (scheme, value) = header.trim().split_once(' ')?;
    let key = if scheme.eq_ignore_ascii_case("bearer") {
        value.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
        pair.split_once(':')
            .map_or(pair.clone(), |(user, _)| user.to_owned())
    } else {
        return None;
    };
    (!key.is_empty()).then_some(key)
}

/// All but the prefix and the last four characters hidden.
fn masked(key: &str) -> String {
    const SHOWN: usize = 4;
    let letters: Vec<char> = key.chars().collect();
    let prefix = key.match_indices('_').nth(1).map_or(0, |(at, _)| at + 1);
    let end = letters.len().saturating_sub(SHOWN).max(prefix);
    letters
        .iter()
        .enumerate()
        .map(|(at, letter)| {
            if (prefix..end).contains(&at) {
                '*'
            } else {
                *letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_as_bearer_or_as_the_basic_user_name() {
        assert_eq!(key("Bearer sk_test_1").as_deref(), Some("sk_test_1"));
        let basic = format!("Basic {}", STANDARD.encode("sk_test_1:"));
        assert_eq!(key(&basic).as_deref(), Some("sk_test_1"));
        assert_eq!(key("Bearer "), None);
    }

    #[test]
    fn a_refused_key_is_shown_masked() {
        assert_eq!(masked("sk_live_0123456789"), "sk_live_******6789");
    }
}
