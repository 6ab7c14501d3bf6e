//! The spec: poem-openapi's, completed by what it has no words for and by what generators of clients need.

use poem::http::StatusCode;
use serde_json::json;

use super::node::Node;
use crate::request::spelled;

/// Matches every e-mail that `entity::email` accepts, and some that it rejects: no pattern describes a domain in Unicode.
const EMAIL: &str = r"\s*[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[^\s@]+\s*";

const UUID: &str = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}";

/// From 0 to 60 seconds.
const WAIT: &str = "^(([1-5]?[0-9]|60)s|([1-5]?[0-9]{1,4}|60000)ms|[01]m)$";

/// Schemas of request bodies that refuse unknown members.
const CLOSED: [&str; 5] = [
    "NewCustomer",
    "NewCustomers",
    "CustomerPatch",
    "Resolution",
    "Linking",
];

/// Schemas of request bodies: their members may be absent.
const BODIES: [&str; 7] = [
    "NewCustomer",
    "NewCustomers",
    "CustomerPatch",
    "Resolution",
    "Linking",
    "NamedCustomer",
    "DeletedCustomer",
];

/// Operations on the customer that another one has created.
const LINKS: [(&str, &str); 5] = [
    ("Read", "readCustomer"),
    ("Update", "updateCustomer"),
    ("Delete", "deleteCustomer"),
    ("Sync", "readCustomerSync"),
    ("Timeline", "readCustomerTimeline"),
];

/// The tags in the order in which the page shows them.
const TAGS: [&str; 4] = ["customers", "attention", "status", "original"];

/// What a reference to a schema begins with.
const SCHEMAS: &str = "#/components/schemas/";

pub(super) fn complete(spec: &str) -> String {
    let mut spec = Node::parse(spec);
    spec.walk(&mut |node| {
        merge_description(node);
        use_utc(node);
        name_headers(node);
    });
    allow_null(&mut spec);
    sort_tags(&mut spec);
    if let Some(schemas) = spec
        .get_mut("components")
        .and_then(|it| it.get_mut("schemas"))
    {
        for (name, schema) in schemas.members_mut() {
            complete_schema(name, schema);
        }
    }
    if let Some(paths) = spec.get_mut("paths") {
        paths.rename(spelled);
        for (path, operations) in paths.members_mut() {
            for (_, operation) in operations.members_mut() {
                complete_operation(path, operation);
            }
        }
    }
    let mut text = spec.to_text();
    text.push('\n');
    text
}

/// A described reference is written with a second, untyped part, which generators cannot read.
fn merge_description(node: &mut Node) {
    let Some(Node::Array(parts)) = node.get_mut("allOf") else {
        return;
    };
    parts.retain(|part| part.get("$ref").is_some());
}

/// A nullable reference gets a type of its own, which `nullable` requires. Validators apply an enumeration to null too, so
/// a nullable one is written in place, with null among its values.
fn allow_null(spec: &mut Node) {
    let Some(schemas) = spec.get("components").and_then(|it| it.get("schemas")) else {
        return;
    };
    let schemas = schemas.clone();
    let mut written = Vec::new();
    spec.walk(&mut |node| {
        let name = node.get("allOf").and_then(reference);
        let (Some(name), Some(_)) = (name, node.get("nullable")) else {
            return;
        };
        let Some(schema) = schemas.get(&name) else {
            return;
        };
        if let Some(kind) = schema.get("type") {
            node.set("type", kind.clone());
        }
        if let Some(Node::Array(values)) = schema.get("enum") {
            let values: Vec<_> = values.iter().cloned().chain([Node::Null]).collect();
            node.set("enum", values);
            node.remove("allOf");
            written.push(name);
        }
    });
    for name in written {
        remove_unused(spec, &name);
    }
}

/// The name of the schema that the only part of an `allOf` refers to.
fn reference(parts: &Node) -> Option<String> {
    let Node::Array(parts) = parts else {
        return None;
    };
    let [part] = &parts[..] else {
        return None;
    };
    let text = part.get("$ref").and_then(Node::text)?;
    text.strip_prefix(SCHEMAS).map(str::to_owned)
}

fn remove_unused(spec: &mut Node, name: &str) {
    let reference = format!("{SCHEMAS}{name}");
    let mut is_used = false;
    spec.walk(&mut |node| is_used |= node.text() == Some(reference.as_str()));
    let components = spec.get_mut("components");
    if let (false, Some(schemas)) = (is_used, components.and_then(|it| it.get_mut("schemas"))) {
        schemas.remove(name);
    }
}

/// Times are written in UTC as responses write them.
fn use_utc(node: &mut Node) {
    if let Node::Text(text) = node
        && let Some(time) = text.strip_suffix("+00:00")
        && chrono::DateTime::parse_from_rfc3339(text).is_ok()
    {
        *text = format!("{time}Z");
    }
}

/// poem-openapi writes the names of headers in capitals.
fn name_headers(node: &mut Node) {
    let Node::Object(members) = node else {
        return;
    };
    for header in ["ETag", "Location", "Idempotent-Replayed"] {
        let capitals = header.to_uppercase();
        if let Some(place) = members.get_index_of(&capitals)
            && let Some((_, value)) = members.shift_remove_index(place).map(|it| (place, it.1))
        {
            members.shift_insert(place, header.to_owned(), value);
        }
    }
}

fn sort_tags(spec: &mut Node) {
    if let Some(Node::Array(tags)) = spec.get_mut("tags") {
        let place = |tag: &Node| {
            let name = tag.get("name").and_then(Node::text);
            TAGS.iter().position(|known| Some(*known) == name)
        };
        tags.sort_by_key(|tag| place(tag).unwrap_or(TAGS.len()));
    }
}

fn complete_schema(name: &str, schema: &mut Node) {
    // Responses have none: an e-mail from Stripe may be any text.
    if BODIES.contains(&name)
        && let Some(properties) = schema.get_mut("properties")
        && let Some(email) = properties.get_mut("email")
    {
        email.set("pattern", format!("^{EMAIL}$"));
    }
    if !schema.is("type", "object") {
        return;
    }
    if CLOSED.contains(&name) {
        schema.set("additionalProperties", false);
    }
    if !BODIES.contains(&name) && !["Problem", "BatchResult"].contains(&name) {
        // Responses have every member; one that has no value is null.
        let Some(Node::Object(properties)) = schema.get("properties") else {
            return;
        };
        let names: Vec<Node> = properties.keys().map(|name| name.as_str().into()).collect();
        schema.set("required", names);
    }
}

fn complete_operation(path: &str, operation: &mut Node) {
    if let Some(parameters) = operation.get_mut("parameters") {
        for parameter in parameters.items_mut() {
            let name = parameter.get("name").and_then(Node::text).unwrap_or("");
            let rule = rule(path, name);
            if let (Some((keyword, value)), Some(schema)) = (rule, parameter.get_mut("schema")) {
                schema.set(keyword, value);
            }
        }
    }
    let is_create = operation.is("operationId", "createCustomer");
    let Some(responses) = operation.get_mut("responses") else {
        return;
    };
    for (status, response) in responses.members_mut() {
        if is_create && status == "201" {
            response.set("links", links());
        }
        show_own_error(status, response);
    }
}

/// The pattern or the format of a parameter that is a text to poem-openapi.
fn rule(path: &str, parameter: &str) -> Option<(&'static str, String)> {
    let pattern = match parameter {
        "id" if path.starts_with("/api/v1/conflicts/") => return Some(("format", "uuid".into())),
        // Stripe's.
        "id" => "^[!-~]{1,255}$".into(),
        "key" | "customer" => format!("^({UUID}|{EMAIL})$"),
        "email" => format!("^{EMAIL}$"),
        "cursor" => "^[A-Za-z0-9_-]+$".into(),
        "after" => "^(now|[A-Za-z0-9_-]+)$".into(),
        "wait" => WAIT.into(),
        _ => return None,
    };
    Some(("pattern", pattern))
}

fn links() -> Node {
    let links = LINKS.map(|(name, operation)| {
        let key = json!({"key": "$response.body#/id"});
        let link = json!({"operationId": operation, "parameters": key});
        (name.to_owned(), Node::of(link))
    });
    Node::Object(links.into_iter().collect())
}

/// The example of an error: its status and its first code, which the description names.
fn show_own_error(status: &str, response: &mut Node) {
    let description = response.get("description").and_then(Node::text);
    let description = description.unwrap_or_default().to_owned();
    let Some(content) = response
        .get_mut("content")
        .and_then(|it| it.get_mut("application/problem+json"))
    else {
        return;
    };
    let Some(code) = description
        .split_once("(`")
        .and_then(|(_, rest)| rest.split_once('`'))
        .map(|(code, _)| code)
    else {
        return;
    };
    let number: u16 = status.parse().unwrap_or_default();
    let title = StatusCode::from_u16(number)
        .ok()
        .and_then(|status| status.canonical_reason());
    let detail = description.split(" (`").next().unwrap_or_default();
    let detail = detail.split(';').next().unwrap_or_default();
    content.set(
        "example",
        Node::of(json!({
            "type": "about:blank",
            "title": title,
            "status": number,
            "code": code,
            "detail": detail,
            "request_id": "0199d8a2-6f3e-7c11-9a55-0d6f1f0f4a11",
        })),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn described_reference_keeps_its_description() {
        let mut node = Node::of(json!({"p": {
            "description": "d", "allOf": [{"$ref": "#/x"}, {"description": "d"}]
        }}));
        node.walk(&mut merge_description);
        let expected = json!({"p": {"description": "d", "allOf": [{"$ref": "#/x"}]}});
        assert_eq!(node, Node::of(expected));
    }

    #[test]
    fn nullable_reference_has_a_type_and_an_enumeration_null() {
        let reference = |name: &str| json!([{"$ref": format!("{SCHEMAS}{name}")}]);
        let mut spec = Node::of(json!({
            "object": {"nullable": true, "allOf": reference("O")},
            "choice": {"nullable": true, "allOf": reference("E")},
            "other": {"allOf": reference("F")},
            "components": {"schemas": {
                "O": {"type": "object"},
                "E": {"type": "string", "enum": ["a"]},
                "F": {"type": "string", "enum": ["b"]},
            }},
        }));
        allow_null(&mut spec);
        let expected = json!({
            "object": {"nullable": true, "type": "object", "allOf": reference("O")},
            "choice": {"nullable": true, "type": "string", "enum": ["a", null]},
            "other": {"allOf": reference("F")},
            "components": {"schemas": {
                "O": {"type": "object"},
                "F": {"type": "string", "enum": ["b"]},
            }},
        });
        assert_eq!(spec, Node::of(expected));
    }

    #[test]
    fn error_example_has_the_first_code_of_its_description() {
        let mut response = Node::of(json!({
            "description": "Another customer has this e-mail (`email_taken`).",
            "content": {"application/problem+json": {}},
        }));
        show_own_error("409", &mut response);
        let content = response.get("content").unwrap();
        let content = content.get("application/problem+json").unwrap();
        let example = content.get("example").unwrap();
        assert!(example.is("code", "email_taken"));
        assert!(example.is("title", "Conflict"));
        assert!(example.is("detail", "Another customer has this e-mail"));
    }
}
