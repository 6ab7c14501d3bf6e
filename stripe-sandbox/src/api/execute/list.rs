//! Stripe's `list`.

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct List<T> {
    object: &'static str,
    data: Vec<T>,
    has_more: bool,
    url: &'static str,
}

impl<T> List<T> {
    pub(crate) fn new(data: Vec<T>, has_more: bool, url: &'static str) -> Self {
        Self {
            object: "list",
            data,
            has_more,
            url,
        }
    }
}
