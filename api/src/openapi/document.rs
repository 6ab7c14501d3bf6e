//! The spec: poem-openapi's, completed by what it has no words for and by what generators of clients need.

use poem::http::StatusCode;
use serde_json::json;

use super::node::Node;

/// What `entity::email` accepts.
const EMAIL: &str = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";

/// Schemas of request bodies that refuse unknown members.
const CLOSED: [&str; 4] = ["NewCustomer", "CustomerPatch", "Resolution", "Linking"];

/// Schemas of request bodies: their members may be absent.
const BODIES: [&str; 6] = [
    "NewCustomer",
    "CustomerPatch",
    "Resolution",
    "Linking",
    "NamedCustomer",
    "DeletedCustomer",
];

/// Patterns of parameters that are texts to poem-openapi.
const PATTERNS: [(&str, &str); 3] = [
    ("cursor", "^[A-Za-z0-9_-]+$"),
    ("after", "^(now|[A-Za-z0-9_-]+)$"),
    ("wait", "^[0-9]+(ms|s|m)$"),
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

pub(super) fn complete(spec: &str) -> String {
    let mut spec = Node::parse(spec);
    spec.walk(&mut |node| {
        merge_description(node);
        use_utc(node);
        name_headers(node);
    });
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
        for (_, path) in paths.members_mut() {
            for (_, operation) in path.members_mut() {
                complete_operation(operation);
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
    if let Some(email) = schema
        .get_mut("properties")
        .and_then(|it| it.get_mut("email"))
        && email.is("type", "string")
    {
        email.set("pattern", EMAIL);
    }
    if !schema.is("type", "object") {
        return;
    }
    if CLOSED.contains(&name) {
        schema.set("additionalProperties", false);
    }
    if !BODIES.contains(&name) && name != "Problem" {
        // Responses have every member; one that has no value is null.
        let Some(Node::Object(properties)) = schema.get("properties") else {
            return;
        };
        let names: Vec<Node> = properties.keys().map(|name| name.as_str().into()).collect();
        schema.set("required", names);
    }
}

fn complete_operation(operation: &mut Node) {
    if let Some(parameters) = operation.get_mut("parameters") {
        for parameter in parameters.items_mut() {
            let name = parameter.get("name").and_then(Node::text).unwrap_or("");
            let pattern = PATTERNS.iter().find(|(known, _)| *known == name);
            if let (Some((_, pattern)), Some(schema)) = (pattern, parameter.get_mut("schema")) {
                schema.set("pattern", *pattern);
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
