//! The HTML of the human page. Every value goes through `escape`.

use std::fmt::Write;
use std::sync::Arc;

use chrono::DateTime;

use crate::world::customer::{Customer, PREFIX};

pub(crate) const STYLE: &str = "
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1f36}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}a{color:#3b4cca}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #e3e8ee}
th{font-weight:600;color:#4f566b}code{font-size:.85em;color:#4f566b}
form.fields{display:grid;grid-template-columns:8rem 1fr;gap:.5rem;max-width:34rem}
input{font:inherit;padding:.3rem .5rem;border:1px solid #a3acb9;border-radius:4px}
button{font:inherit;padding:.35rem .9rem;border:1px solid #3b4cca;border-radius:4px;background:#3b4cca;color:#fff}
button.danger{background:#fff;color:#b3093c;border-color:#b3093c}form.fields button{grid-column:2;justify-self:start}
.note{color:#4f566b}";

pub(crate) struct Listing<'a> {
    pub(crate) customers: &'a [Arc<Customer>],
    pub(crate) total: usize,
    pub(crate) email: &'a str,
    pub(crate) older: Option<usize>,
    pub(crate) first: bool,
}

pub(crate) fn list(listing: &Listing<'_>, account: &str) -> String {
    let mut rows = String::new();
    for customer in listing.customers {
        let id = customer.id.with_prefix(PREFIX);
        let _ = write!(
            rows,
            "<tr><td><a href=\"/dashboard/customers/{id}\">{name}</a></td><td>{email}</td><td>{phone}</td><td><code>{id}</code></td><td>{created}</td></tr>",
            name = escape(customer.name.as_deref().unwrap_or("(no name)")),
            email = text(customer.email.as_deref()),
            phone = text(customer.phone.as_deref()),
            created = when(customer.created),
        );
    }
    if rows.is_empty() {
        rows.push_str("<tr><td colspan=\"5\" class=\"note\">No customers here.</td></tr>");
    }
    let email = escape(listing.email);
    let newest = if listing.first {
        String::new()
    } else {
        format!("<a href=\"/?email={}\">Newest</a> ", query(listing.email))
    };
    let older = listing
        .older
        .map(|place| {
            format!(
                "<a href=\"/?email={}&amp;older={place}\">Older</a>",
                query(listing.email)
            )
        })
        .unwrap_or_default();
    let body = format!(
        "<h1>Customers</h1><p class=\"note\">A sandbox that plays Stripe, account <code>{account}</code>, {total} customers. \
         What you do here is a human's edit in Stripe's dashboard.</p>\
         <form method=\"get\" action=\"/\"><label>E-mail contains <input name=\"email\" value=\"{email}\"></label> <button>Search</button></form>\
         <table><thead><tr><th>Name</th><th>E-mail</th><th>Phone</th><th>Id</th><th>Created</th></tr></thead><tbody>{rows}</tbody></table>\
         <p>{newest}{older}</p><h2>New customer</h2>{form}",
        account = escape(account),
        total = listing.total,
        form = fields("/dashboard/customers", None, "Create"),
    );
    page("Customers", &body)
}

pub(crate) fn show(customer: &Customer) -> String {
    let id = customer.id.with_prefix(PREFIX);
    if customer.deleted {
        return page(
            "Deleted customer",
            &format!(
                "<h1>Deleted</h1><p><code>{id}</code> was deleted.</p><p><a href=\"/\">All customers</a></p>"
            ),
        );
    }
    let mut metadata = String::new();
    for (key, value) in &customer.metadata {
        let _ = write!(
            metadata,
            "<tr><td>{}</td><td>{}</td></tr>",
            escape(key),
            escape(value)
        );
    }
    if metadata.is_empty() {
        metadata.push_str("<tr><td colspan=\"2\" class=\"note\">None.</td></tr>");
    }
    let action = format!("/dashboard/customers/{id}");
    let body = format!(
        "<p><a href=\"/\">All customers</a></p><h1>{name}</h1><p class=\"note\"><code>{id}</code>, created {created}</p>{form}\
         <h2>Metadata</h2><table><tbody>{metadata}</tbody></table>\
         <h2>Delete</h2><form method=\"post\" action=\"{action}/delete\"><button class=\"danger\">Delete this customer</button></form>",
        name = escape(customer.name.as_deref().unwrap_or("(no name)")),
        created = when(customer.created),
        form = fields(&action, Some(customer), "Save"),
    );
    page("Customer", &body)
}

pub(crate) fn refused(message: &str) -> String {
    page(
        "Refused",
        &format!(
            "<h1>Refused</h1><p>{}</p><p><a href=\"/\">All customers</a></p>",
            escape(message)
        ),
    )
}

fn fields(action: &str, customer: Option<&Customer>, button: &str) -> String {
    let value =
        |field: fn(&Customer) -> Option<&str>| escape(customer.and_then(field).unwrap_or_default());
    let rows = [
        ("name", "Name", value(|customer| customer.name.as_deref())),
        (
            "email",
            "E-mail",
            value(|customer| customer.email.as_deref()),
        ),
        (
            "phone",
            "Phone",
            value(|customer| customer.phone.as_deref()),
        ),
        (
            "description",
            "Description",
            value(|customer| customer.description.as_deref()),
        ),
    ];
    let mut form = format!("<form class=\"fields\" method=\"post\" action=\"{action}\">");
    for (name, label, value) in rows {
        let _ = write!(
            form,
            "<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" value=\"{value}\">\
             <input type=\"hidden\" name=\"was_{name}\" value=\"{value}\">"
        );
    }
    let _ = write!(form, "<button>{button}</button></form>");
    form
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} – Stripe sandbox</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
}

fn text(value: Option<&str>) -> String {
    value.map_or_else(|| "<span class=\"note\">–</span>".to_owned(), escape)
}

fn when(second: i64) -> String {
    DateTime::from_timestamp(second, 0)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

fn query(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
