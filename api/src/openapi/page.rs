//! The page that shows the spec: one file with its own scripts, compressed when it is first requested.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{StatusCode, header};
use poem::{Request, Response};
use sha2::{Digest, Sha256};

use super::policy;

/// A picture of two arrows, in the page itself.
const ICON: &str = "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
%3Cpath d='M2 6h9V3l4 4H2zM14 10H5v3L1 9h13z' fill='%23635bff'/%3E%3C/svg%3E\">";

pub(super) struct Page {
    text: String,
    policy: String,
    etag: String,
    compressed: OnceLock<Vec<u8>>,
}

impl Page {
    pub(super) fn new(page: &str) -> Self {
        // As a browser reads it, so that the digests in the policy are those of what it reads.
        let text = page
            .trim_start()
            .replace("\r\n", "\n")
            .replacen(
                "<html charset=\"UTF-8\">",
                "<!DOCTYPE html>\n<html lang=\"en\">",
                1,
            )
            .replacen(
                "<title>Swagger UI</title>",
                &format!("<title>customer-sync API</title>\n    {ICON}"),
                1,
            );
        Self {
            policy: policy::of(&text),
            etag: format!("\"{}\"", hex::encode(&Sha256::digest(&text)[..16])),
            text,
            compressed: OnceLock::new(),
        }
    }

    pub(super) fn response(&self, request: &Request) -> Response {
        let response = Response::builder()
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "accept-encoding")
            .header("content-security-policy", &self.policy);
        let is_known = request
            .header("if-none-match")
            .is_some_and(|tags| tags.contains(&self.etag));
        if is_known {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        let response = response.content_type("text/html; charset=utf-8");
        if !accepts_gzip(request.header("accept-encoding")) {
            return response.body(self.text.clone());
        }
        let compressed = self.compressed.get_or_init(|| compress(&self.text));
        response
            .header(header::CONTENT_ENCODING, "gzip")
            .body(compressed.clone())
    }
}

/// Whether the client names gzip and does not refuse it.
fn accepts_gzip(accepted: Option<&str>) -> bool {
    let codings = accepted.unwrap_or_default().split(',');
    codings
        .map(|coding| coding.split(';').map(str::trim))
        .any(|mut coding| {
            coding.next() == Some("gzip") && !coding.any(|part| matches!(part, "q=0" | "q=0.0"))
        })
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text.as_bytes());
    written
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_clients_that_accept_it() {
        for accepted in ["gzip", "deflate, gzip;q=0.5", "br , gzip"] {
            assert!(accepts_gzip(Some(accepted)), "{accepted}");
        }
        for refused in [
            None,
            Some(""),
            Some("br"),
            Some("gzip;q=0"),
            Some("gzip; q=0"),
        ] {
            assert!(!accepts_gzip(refused), "{refused:?}");
        }
    }

    #[test]
    fn page_has_a_title_and_is_not_sent_twice() {
        let page = Page::new("\n<html charset=\"UTF-8\">\n<title>Swagger UI</title>");
        assert!(
            page.text.starts_with("<!DOCTYPE html>") && page.text.contains("customer-sync API")
        );
        let again = Request::builder()
            .header("if-none-match", &page.etag)
            .finish();
        assert_eq!(page.response(&again).status(), StatusCode::NOT_MODIFIED);
    }
}
