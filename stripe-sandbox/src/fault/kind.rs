//! Every fault that there is. In JSON the name is `kind` in snake case, a length of time is `ms`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong. "Effect" is the change that a request makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The request is in progress for this long before its effect; its idempotency key is in use meanwhile.
    LatencyBeforeEffect {
        #[serde(rename = "ms", with = "millis")]
        delay: Duration,
    },
    /// The answer leaves this long after the effect, whether or not the client still waits.
    LatencyAfterEffect {
        #[serde(rename = "ms", with = "millis")]
        delay: Duration,
    },
    /// 500 `api_error`, saved under the key, and nothing was done.
    ErrorBeforeEffect {
        /// What `Stripe-Should-Retry` says, if it is sent.
        #[serde(default)]
        should_retry: Option<bool>,
    },
    /// 500 `api_error`, saved under the key, although the effect is there.
    ErrorAfterEffect {
        #[serde(default)]
        should_retry: Option<bool>,
    },
    /// 502 with HTML from a gateway that never passed the request on.
    GatewayErrorBeforeEffect,
    /// 502 with HTML from a gateway that lost the answer.
    GatewayErrorAfterEffect,
    /// The honest status without a body.
    EmptyBody,
    /// The honest status with a body that is not JSON.
    GarbledBody,
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// The connection is reset before the request is read.
    ResetBeforeEffect,
    /// The connection is reset instead of an answer.
    ResetAfterEffect,
    /// The connection is reset, and the request arrives only when [`Sandbox::deliver_late`] is called: it was
    /// on its way for longer than its client waited.
    ///
    /// [`Sandbox::deliver_late`]: crate::Sandbox::deliver_late
    DeliveredLate,
    /// 429 from a limiter: nothing done, nothing saved.
    RateLimited { reason: Reason },
    /// 429 `lock_timeout`: another request holds the object.
    LockTimeout,
    /// 401, as for a key that was rolled.
    Unauthorized,
    /// 403, as for a restricted key without the permission.
    Forbidden,
    /// 400 for every request alike: Stripe does not know the version that it names.
    UnknownVersion,
    /// The idempotency store has forgotten the request's key.
    IdempotencyForgotten,
    /// Search does not know what changed within this time.
    SearchLag {
        #[serde(rename = "ms", with = "millis")]
        delay: Duration,
    },
    /// A list ignores its cursor and gives the first page again.
    RepeatedPage,
    /// A list gives no items and says that there are more.
    EmptyPage,
    /// A list keeps to this limit whatever was asked.
    ShortPage { limit: usize },
    /// A list leaves out one of its items.
    LostItem,
    /// A list gives one of its items twice.
    DuplicateItem,
    /// A list is out of order.
    ShuffledPage,
    /// One item of a list has a member of the wrong type.
    BrokenItem,
    /// A customer has a member of the wrong type wherever it is shown.
    UnreadableCustomer { id: String },
    /// A redaction job has replaced the personal data of a customer.
    RedactedCustomer { id: String },
    /// The items of a list, or the one of this id, have so many bytes more.
    LargeItems {
        bytes: usize,
        #[serde(default)]
        id: Option<String>,
    },
    /// The newest event of a list is dated by this second.
    EventDated { created: i64 },
    /// The items of a list have members and values that nobody has heard of.
    UnknownFields,
    /// The answer comes from another account, with customers of its own.
    OtherAccount,
    /// The answer comes from the same account's other mode, with customers of its own: what a client finds whose key was
    /// replaced by one of the other mode. Of a customer of this mode it says that a similar object exists here.
    OtherModeKey,
    /// The effect is there, and the answer is not the one to this request.
    MismatchedResponse {
        #[serde(default)]
        shows: Shows,
    },
    /// Until it is cleared, all events are dated by the same second.
    EventsInOneSecond,
    /// A webhook arrives `copies` times more.
    WebhookDuplicated { copies: usize },
    /// A webhook arrives this much later.
    WebhookDelayed {
        #[serde(rename = "ms", with = "millis")]
        delay: Duration,
    },
    /// A webhook arrives at some moment within this time, whatever the order of events.
    WebhookShuffled {
        #[serde(rename = "ms", with = "millis")]
        delay: Duration,
    },
    /// A webhook is signed with a secret that is not the endpoint's, each time it is tried.
    WebhookWronglySigned,
    /// A webhook never arrives.
    WebhookLost,
}

/// What a mismatched response shows instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// Another customer; in a list, objects that are no customers.
    #[default]
    OtherObject,
    /// The object as one of the other mode.
    OtherMode,
    /// `{}`.
    Nothing,
}

/// `Stripe-Rate-Limited-Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    GlobalRate,
    EndpointRate,
    GlobalConcurrency,
    EndpointConcurrency,
    ResourceSpecific,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GlobalRate => "global-rate",
            Self::EndpointRate => "endpoint-rate",
            Self::GlobalConcurrency => "global-concurrency",
            Self::EndpointConcurrency => "endpoint-concurrency",
            Self::ResourceSpecific => "resource-specific",
        }
    }
}

impl Kind {
    /// Its name in JSON.
    #[must_use]
    pub fn name(&self) -> String {
        let tagged = serde_json::to_value(self).unwrap_or_default();
        tagged["kind"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_of_webhooks(&self) -> bool {
        matches!(
            self,
            Self::WebhookDuplicated { .. }
                | Self::WebhookDelayed { .. }
                | Self::WebhookShuffled { .. }
                | Self::WebhookWronglySigned
                | Self::WebhookLost
        )
    }

    pub(crate) fn is_of_requests(&self) -> bool {
        !self.is_of_webhooks() && !matches!(self, Self::EventsInOneSecond)
    }
}

/// A length of time as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
