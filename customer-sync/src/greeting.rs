//! What a newcomer reads first: where everything is, and what to try.

use std::io::Write;

/// Where the parts can be reached.
pub(crate) struct Places {
    pub(crate) api: String,
    /// None where a real Stripe is used.
    pub(crate) sandbox: Option<String>,
    pub(crate) needs_key: bool,
}

/// Prints the greeting to stdout. A closed stdout is nobody's problem.
pub(crate) fn print(places: &Places) {
    let _ = std::io::stdout().lock().write_all(text(places).as_bytes());
}

fn text(places: &Places) -> String {
    let api = &places.api;
    let key = if places.needs_key {
        " -H 'Authorization: Bearer YOUR_KEY'"
    } else {
        ""
    };
    let mut text = format!(
        "\ncustomer-sync is running.\n\n  \
           API           {api}/api/v1/customers\n  \
           Swagger UI    {api}/docs\n  \
           Health        {api}/health/ready\n"
    );
    match &places.sandbox {
        Some(sandbox) => text.push_str(&format!(
            "  Sandbox       {sandbox}/  (stands in for Stripe)\n"
        )),
        None => text.push_str("  Stripe        the account of STRIPE_SECRET_KEY\n"),
    }
    text.push_str(&format!(
        "\nTry:\n\n  \
           curl{key} {api}/api/create-customer/ -H 'Content-Type: application/json' \\\n       \
             -d '{{\"name\": \"Ada Lovelace\", \"email\": \"ada@example.com\"}}'\n  \
           curl{key} '{api}/api/v1/customers/ada@example.com/sync?wait=10s'\n"
    ));
    if let Some(sandbox) = &places.sandbox {
        text.push_str(&format!(
            "  curl {sandbox}/v1/customers -u sk_test_sandbox:\n\n\
             Then edit her at {sandbox}/ and see the edit come home.\n"
        ));
    }
    text.push_str("\nCtrl-C stops it.\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_everything_is() {
        let mut places = Places {
            api: "http://127.0.0.1:8000".into(),
            sandbox: Some("http://127.0.0.1:12111".into()),
            needs_key: false,
        };
        let shown = text(&places);
        for place in [
            "127.0.0.1:8000/docs",
            "create-customer",
            "127.0.0.1:12111/v1/customers",
        ] {
            assert!(shown.contains(place), "{shown}");
        }
        assert!(!shown.contains("Bearer"));
        places.sandbox = None;
        places.needs_key = true;
        let shown = text(&places);
        assert!(
            !shown.contains("12111") && shown.contains("Bearer"),
            "{shown}"
        );
    }
}
