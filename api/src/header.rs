//! Headers that decide what a request does. One that can't be read is refused: ignoring an If-Match would overwrite.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::problem::{Code, Problem};

/// All lines of a header, as one text.
pub(crate) struct StrictHeader {
    name: &'static str,
    pub(crate) text: Option<String>,
}

impl<'a> ApiExtractor<'a> for StrictHeader {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    const PARAM_IS_REQUIRED: bool = false;
    type ParamType = Option<String>;
    type ParamRawType = String;

    fn register(registry: &mut Registry) {
        <String as Type>::register(registry);
    }

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(String::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        options: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let name = options.name;
        let mut text: Option<String> = None;
        for value in request.headers().get_all(name) {
            let line = value
                .to_str()
                .map_err(|_| malformed(name, "holds more than plain ASCII"))?;
            text = Some(match text {
                Some(before) => format!("{before}, {line}"),
                None => line.to_owned(),
            });
        }
        Ok(Self { name, text })
    }
}

impl StrictHeader {
    /// The entity tags of If-Match or If-None-Match.
    pub(crate) fn tags(&self) -> Result<Option<Tags>, Problem> {
        let Some(text) = &self.text else {
            return Ok(None);
        };
        Tags::parse(text).map(Some).ok_or_else(|| {
            malformed(
                self.name,
                "must be * or a list of entity tags, such as \"3\"",
            )
        })
    }
}

fn malformed(name: &'static str, what: &str) -> Problem {
    Problem::new(Code::MalformedRequest, format!("{name} {what}")).at(name)
}

/// `*`, or a list of entity tags (RFC 9110, 8.8.3 and 13.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    Any,
    These(Vec<Tag>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    is_weak: bool,
    opaque: String,
}

/// The entity tag of a rev.
pub(crate) fn tag_of(rev: i64) -> String {
    format!("\"{rev}\"")
}

impl Tags {
    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (opaque, behind) = quoted.strip_prefix('"')?.split_once('"')?;
            if opaque.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                return None;
            }
            let opaque = opaque.to_owned();
            tags.push(Tag { is_weak, opaque });
            let behind = behind.trim_start_matches([' ', '\t']);
            if !behind.is_empty() && !behind.starts_with(',') {
                return None;
            }
            rest = behind.trim_start_matches([' ', '\t', ',']);
        }
        (!tags.is_empty()).then_some(Self::These(tags))
    }

    /// For If-Match: a weak tag never matches.
    pub(crate) fn match_strongly(&self, rev: i64) -> bool {
        self.any(rev, |tag| !tag.is_weak)
    }

    /// For If-None-Match.
    pub(crate) fn match_weakly(&self, rev: i64) -> bool {
        self.any(rev, |_| true)
    }

    fn any(&self, rev: i64, counts: impl Fn(&Tag) -> bool) -> bool {
        let rev = rev.to_string();
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| counts(tag) && tag.opaque == rev),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_weak_tags_and_commas_within_tags_are_read() {
        let tags = Tags::parse("\"1\" , W/\"2\",, \"a,b\"").unwrap();
        assert!(tags.match_strongly(1));
        assert!(!tags.match_strongly(2));
        assert!(tags.match_weakly(2));
        assert!(!tags.match_weakly(3));
        assert!(Tags::parse(" * ").unwrap().match_strongly(7));
        assert_eq!(
            Tags::parse("\"\"").unwrap(),
            Tags::These(vec![Tag {
                is_weak: false,
                opaque: String::new()
            }])
        );
    }

    #[test]
    fn what_is_no_list_of_tags_is_no_condition() {
        for text in [
            "",
            " ",
            ",",
            "1",
            "\"1",
            "1\"",
            "\"1\" \"2\"",
            "w/\"1\"",
            "\"1\", *",
            "\"a b\"",
            "W/ \"1\"",
        ] {
            assert_eq!(Tags::parse(text), None, "{text:?}");
        }
    }
}
