//! The content security policy of the page with the docs: its own scripts run, by their digests, and no others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The policy for a page. Swagger UI styles its elements from scripts, shows images from data URLs, and calls this API.
pub(super) fn of(page: &str) -> String {
    let digests: String = scripts(page)
        .map(|script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script))))
        .collect();
    format!(
        "default-src 'none'; script-src{digests}; style-src 'unsafe-inline'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// What is between the tags of each script.
fn scripts(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once("<script")?;
        let (_, behind) = behind.split_once('>')?;
        let (script, behind) = behind.split_once("</script>")?;
        rest = behind;
        Some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_has_the_digest_of_each_script() {
        let page = "<html><script charset=\"UTF-8\">alert(1)</script><p><script>\nf()\n</script>";
        let found: Vec<_> = scripts(page).collect();
        assert_eq!(found, ["alert(1)", "\nf()\n"]);
        let policy = of(page);
        // From `printf 'alert(1)' | openssl dgst -sha256 -binary | base64`.
        let digest = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert!(policy.contains(digest), "{policy}");
        assert_eq!(policy.matches("sha256-").count(), 2);
    }
}
