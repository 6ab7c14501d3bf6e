//! Stripe's customer object, with every member that its API version 2026-09-30 gives an unexpanded one.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::record::{Address, Customer, PREFIX, Rest, Shipping};

/// Renders as Stripe's `customer` of a mode, or as its deleted customer.
pub(crate) struct View<'a> {
    pub(crate) customer: &'a Customer,
    pub(crate) livemode: bool,
}

#[derive(serde::Serialize)]
struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

#[derive(serde::Serialize)]
struct Full<'a> {
    id: String,
    object: &'static str,
    address: Option<&'a Address>,
    balance: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_name: Option<&'a str>,
    created: i64,
    currency: Option<&'a str>,
    default_source: Option<&'a str>,
    delinquent: bool,
    description: Option<&'a str>,
    discount: Option<&'a str>,
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    individual_name: Option<&'a str>,
    invoice_prefix: String,
    invoice_settings: InvoiceSettings<'a>,
    livemode: bool,
    metadata: Pairs<'a>,
    name: Option<&'a str>,
    next_invoice_sequence: i64,
    phone: Option<&'a str>,
    preferred_locales: &'a [String],
    shipping: Option<&'a Shipping>,
    tax_exempt: &'a str,
    test_clock: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct InvoiceSettings<'a> {
    custom_fields: Option<&'a str>,
    default_payment_method: Option<&'a str>,
    footer: Option<&'a str>,
    rendering_options: Option<&'a str>,
}

struct Pairs<'a>(&'a [(Box<str>, Box<str>)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let customer = self.customer;
        let id = customer.id.with_prefix(PREFIX);
        if customer.deleted {
            return Deleted {
                id,
                object: "customer",
                deleted: true,
            }
            .serialize(serializer);
        }
        let none = Rest::default();
        let rest = customer.rest.as_deref().unwrap_or(&none);
        Full {
            id,
            object: "customer",
            address: rest.address.as_ref(),
            balance: rest.balance,
            business_name: rest.business_name.as_deref(),
            created: customer.created,
            currency: None,
            default_source: None,
            delinquent: false,
            description: customer.description.as_deref(),
            discount: None,
            email: customer.email.as_deref(),
            individual_name: rest.individual_name.as_deref(),
            invoice_prefix: invoice_prefix(customer, rest),
            invoice_settings: InvoiceSettings {
                custom_fields: None,
                default_payment_method: None,
                footer: rest.invoice_footer.as_deref(),
                rendering_options: None,
            },
            livemode: self.livemode,
            metadata: Pairs(&customer.metadata),
            name: customer.name.as_deref(),
            next_invoice_sequence: rest.next_invoice_sequence.unwrap_or(1),
            phone: customer.phone.as_deref(),
            preferred_locales: &rest.preferred_locales,
            shipping: rest.shipping.as_ref(),
            tax_exempt: rest.tax_exempt.as_deref().unwrap_or("none"),
            test_clock: customer.test_clock(),
        }
        .serialize(serializer)
    }
}

/// The object's JSON.
pub(crate) fn json(customer: &Customer, livemode: bool) -> Value {
    serde_json::to_value(View { customer, livemode }).unwrap_or_default()
}

/// The `previous_attributes` of `customer.updated`: what changed, as it was; inside hashes only the changed
/// members, null for those that were not there. None when nothing changed.
pub(crate) fn previous_attributes(old: &Customer, new: &Customer) -> Option<Value> {
    difference(&json(old, false), &json(new, false))
}

fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| old.clone());
    };
    let mut changed = Map::new();
    for (name, value) in before {
        let now = after.get(name).unwrap_or(&Value::Null);
        if let Some(previous) = difference(value, now) {
            changed.insert(name.clone(), previous);
        }
    }
    for (name, _) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        changed.insert(name.clone(), Value::Null);
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}

/// Stripe makes up an eight-character prefix for every customer; drawn from the id it need not be kept.
fn invoice_prefix(customer: &Customer, rest: &Rest) -> String {
    const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if let Some(prefix) = &rest.invoice_prefix {
        return prefix.to_string();
    }
    let bytes = customer.id.bytes();
    (0..8)
        .map(|at| {
            char::from(ALPHABET[(usize::from(bytes[at]) * 7 + usize::from(bytes[at + 6])) % 36])
        })
        .collect()
}
