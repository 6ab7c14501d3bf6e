//! Reading a body: JSON of a bounded size, an object whose members are texts, or a list of such objects. Every fault names the member.

use std::time::Duration;

use entity::text::with_nuls;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{MaybeUndefined, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::problem::{Code, Problem};

/// How long a body may take to arrive.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A body that is read and checked; its type is its schema in the spec.
pub(crate) struct JsonBody<T>(pub(crate) T);

/// What a body may be.
pub(crate) trait Input: Sized {
    /// What the spec shows of it.
    type Schema: Type;

    const MEDIA_TYPES: &'static [&'static str] = &["application/json"];
    const MAX_BYTES: usize = 64 * 1024;

    fn read(members: Members) -> Result<Self, Problem>;
}

impl<'a, T: Input> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::Schema::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = T::MEDIA_TYPES.iter().map(|content_type| MetaMediaType {
            content_type,
            schema: T::Schema::schema_ref(),
        });
        Some(MetaRequest {
            description: None,
            content: content.collect(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        check_media_type(request.content_type(), T::MEDIA_TYPES)?;
        let reading = body.take()?.into_bytes_limit(T::MAX_BYTES);
        let bytes = timeout(PATIENCE, reading).await.map_err(|_| {
            Problem::new(
                Code::RequestTimeout,
                "the body did not arrive in 15 seconds",
            )
        })??;
        Ok(Self(T::read(Members::parse(&bytes)?)?))
    }
}

fn check_media_type(given: Option<&str>, read: &'static [&'static str]) -> Result<(), Problem> {
    let given = given.and_then(|text| text.split(';').next()).unwrap_or("");
    if read
        .iter()
        .any(|one| given.trim().eq_ignore_ascii_case(one))
    {
        return Ok(());
    }
    let detail = format!("send the body with Content-Type: {}", read[0]);
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// The members of the object in a body. Of two with one name the last one counts.
pub(crate) struct Members(Map<String, Value>);

impl Members {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        // What no text can hold is read as NUL, which no member may hold either: so the error names the member.
        let again = |error| serde_json::from_str(&with_nuls(bytes)).map_err(|_| error);
        match serde_json::from_slice(bytes).or_else(again) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(Problem::new(
                Code::ValidationFailed,
                "the body must be a JSON object, such as {\"email\": \"bob@example.com\"}",
            )),
            // The parser says what it missed and where, and quotes nothing.
            Err(error) => Err(Problem::new(
                Code::MalformedJson,
                format!("the body is no JSON: {error}"),
            )),
        }
    }

    /// Takes out a member that is to be a text, null or absent.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<MaybeUndefined<String>, Problem> {
        match self.0.remove(name) {
            None => Ok(MaybeUndefined::Undefined),
            Some(Value::Null) => Ok(MaybeUndefined::Null),
            // Canonical values drop it, and what an application sends must not change in silence.
            Some(Value::String(text)) if text.contains('\0') => Err(Problem::invalid(
                name,
                format!(
                    "{name} must not contain the NUL character, bytes that are no UTF-8 or half a surrogate pair"
                ),
            )),
            Some(Value::String(text)) => Ok(MaybeUndefined::Value(text)),
            Some(_) => Err(Problem::invalid(name, format!("{name} must be a text"))),
        }
    }

    /// Takes out a member that must be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<String, Problem> {
        self.text(name)?
            .take()
            .ok_or_else(|| Problem::invalid(name, format!("{name} is required")))
    }

    /// Takes out a member that must be a list; each item is an object, or the error that it is to have.
    pub(crate) fn items(
        &mut self,
        name: &'static str,
        most: usize,
    ) -> Result<Vec<Result<Self, Problem>>, Problem> {
        let Some(Value::Array(items)) = self.0.remove(name) else {
            return Err(Problem::invalid(name, format!("{name} must be a list")));
        };
        if items.is_empty() || items.len() > most {
            let detail = format!("{name} must have 1 to {most} items");
            return Err(Problem::invalid(name, detail));
        }
        let object = |item| match item {
            Value::Object(members) => Ok(Self(members)),
            _ => Err(Problem::new(
                Code::ValidationFailed,
                "each item must be a JSON object",
            )),
        };
        Ok(items.into_iter().map(object).collect())
    }

    /// A member that nobody took out is one that would be ignored in silence.
    pub(crate) fn none_left(self) -> Result<(), Problem> {
        const SHOWN: usize = 64;
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(SHOWN).collect();
                Err(Problem::invalid(shown, "this member is not known here"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Code {
        match Members::parse(text.as_bytes()) {
            Ok(_) => panic!("{text} was read"),
            Err(problem) => problem.code,
        }
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_no_object() {
        let deep = "[".repeat(1000);
        for text in ["", " ", "{", "{\"a\":}", "\u{feff}{}", &deep] {
            assert_eq!(refused(text), Code::MalformedJson, "{text:?}");
        }
        for text in ["[]", "null", "3", "\"a\"", "true"] {
            assert_eq!(refused(text), Code::ValidationFailed, "{text}");
        }
    }

    #[test]
    fn text_that_cannot_be_stored_is_named_by_its_member() {
        let bodies: [&[u8]; 7] = [
            br#"{"b":"x","a":"\u0000"}"#,
            br#"{"b":"x","a":"\ud800"}"#,
            br#"{"b":"x","a":"\uDC00\ud83d"}"#,
            br#"{"b":"x","a":"\ud83dx\ude00"}"#,
            b"{\"b\":\"x\",\"a\":\"\xff\"}",
            b"{\"b\":\"x\",\"a\":\"\xed\xa0\x80\"}",
            b"{\"b\":\"x\",\"a\":\"\xc0\x80\"}",
        ];
        for body in bodies {
            let mut members = Members::parse(body).unwrap();
            assert_eq!(members.required("b").unwrap(), "x");
            let problem = members.required("a").unwrap_err();
            assert_eq!(problem.code, Code::ValidationFailed);
            assert!(problem.to_string().starts_with("a must not contain"));
        }
        let mut members = Members::parse(br#"{"a":"\ud83d\ude00 \\ud800"}"#).unwrap();
        assert_eq!(members.required("a").unwrap(), "\u{1f600} \\ud800");
    }

    #[test]
    fn of_two_members_with_one_name_the_last_one_counts() {
        let mut members = Members::parse(br#"{"a":1,"a":"x"}"#).unwrap();
        assert_eq!(members.required("a").unwrap(), "x");
        members.none_left().unwrap();
    }

    #[test]
    fn the_content_type_may_have_parameters_and_any_case() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;",
        ] {
            check_media_type(Some(good), &["application/json"]).unwrap();
        }
        for bad in [
            None,
            Some(""),
            Some("text/plain"),
            Some("application/jsonx"),
        ] {
            let problem = check_media_type(bad, &["application/json"]).unwrap_err();
            assert_eq!(problem.code, Code::UnsupportedMediaType, "{bad:?}");
        }
    }
}
