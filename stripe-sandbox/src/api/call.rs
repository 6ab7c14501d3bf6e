//! One request as the API sees it.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::wire::error::Error;
use crate::wire::form::{Form, Hash};
use crate::world::event::RequestId;

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) request: RequestId,
    pub(crate) method: String,
    /// Percent-decoded, without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

impl Call {
    /// The parameters of query and body. A body that is not form-encoded is refused as Stripe's v1 does.
    pub(crate) fn form(&self) -> Result<Form, Error> {
        let mut form = Form::parse(self.query.as_bytes());
        if self.method == "POST" && !self.body.is_empty() {
            let encoded = self.content_type.as_deref().is_none_or(|kind| {
                kind.to_ascii_lowercase()
                    .starts_with("application/x-www-form-urlencoded")
            });
            if !encoded {
                let message = "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If you have any questions, we can help at https://support.stripe.com/.";
                return Err(Error::invalid(400, message));
            }
            form.extend(Form::parse(&self.body));
        }
        Ok(form)
    }

    /// Tells its parameters from others, for the record of requests.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        let parameters = self.form().ok()?.canonical();
        let digest = Sha256::digest(parameters.as_bytes());
        (!parameters.is_empty()).then(|| hex::encode(&digest[..8]))
    }

    /// A metadata value in the body, for the record of requests.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        match self.form().ok()?.take_hash("metadata").ok()?? {
            Hash::Fields(mut fields) => fields.take(key).ok()?,
            Hash::Unset => None,
        }
    }
}
