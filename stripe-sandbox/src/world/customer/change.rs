//! What a create or an update asks for, checked against Stripe's limits before anything is touched.

mod email;
mod metadata;

use self::metadata::Metadata;
use super::record::{Address, Customer, Rest, Shipping, Text};
use crate::wire::error::Error;
use crate::wire::form::{Form, Hash};

const TEXT_MAX: usize = 5000;

/// Parameters that Stripe has and this sandbox does not play; refused loudly instead of being swallowed.
const NOT_PLAYED: [&str; 7] = [
    "cash_balance",
    "default_source",
    "payment_method",
    "source",
    "tax",
    "tax_id_data",
    "validate",
];

/// None leaves a field as it is, `Some(None)` clears it.
type Field<T> = Option<Option<T>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    email: Field<Box<str>>,
    name: Field<Box<str>>,
    phone: Field<Box<str>>,
    description: Field<Box<str>>,
    metadata: Option<Metadata>,
    rest: Box<RestChange>,
}

#[derive(Clone, Debug, Default)]
struct RestChange {
    address: Field<Address>,
    balance: Option<i64>,
    business_name: Field<Box<str>>,
    individual_name: Field<Box<str>>,
    invoice_footer: Field<Box<str>>,
    invoice_prefix: Field<Box<str>>,
    next_invoice_sequence: Option<i64>,
    preferred_locales: Option<Vec<String>>,
    shipping: Field<Shipping>,
    tax_exempt: Field<Box<str>>,
    test_clock: Field<Box<str>>,
    any: bool,
}

impl Change {
    /// Reads and checks the parameters of `POST /v1/customers` (`creating`) or `POST /v1/customers/{id}`.
    pub(crate) fn take(form: &mut Form, creating: bool) -> Result<Self, Error> {
        if let Some(param) = NOT_PLAYED.iter().find(|name| form.has(name)) {
            return Err(Error::bad(
                param,
                format!("This sandbox does not implement the parameter {param}."),
            ));
        }
        let email = take_text(form, "email", 512)?;
        if let Some(Some(address)) = &email {
            email::check(address, false)?;
        }
        Ok(Self {
            email,
            name: take_text(form, "name", 256)?,
            phone: take_text(form, "phone", 20)?,
            description: take_text(form, "description", TEXT_MAX)?,
            metadata: Metadata::take(form)?,
            rest: Box::new(RestChange::take(form, creating)?),
        })
    }

    /// Refuses also the addresses of which it is not known whether Stripe takes them.
    pub(crate) fn check_strictly(&self) -> Result<(), Error> {
        match &self.email {
            Some(Some(address)) => email::check(address, true),
            _ => Ok(()),
        }
    }

    /// Fails only where the limit depends on what is already there: fifty metadata keys.
    pub(crate) fn apply(self, customer: &mut Customer) -> Result<(), Error> {
        set(&mut customer.email, self.email);
        set(&mut customer.name, self.name);
        set(&mut customer.phone, self.phone);
        set(&mut customer.description, self.description);
        if let Some(change) = self.metadata {
            change.apply(&mut customer.metadata)?;
        }
        if self.rest.any {
            let mut rest = customer.rest.take().unwrap_or_default();
            self.rest.apply(&mut rest);
            customer.rest = (*rest != Rest::default()).then_some(rest);
        }
        Ok(())
    }
}

impl RestChange {
    fn take(form: &mut Form, creating: bool) -> Result<Self, Error> {
        let before = form.len();
        let mut change = Self {
            address: take_address(form)?,
            balance: form.take_integer("balance")?,
            business_name: take_text(form, "business_name", 150)?,
            individual_name: take_text(form, "individual_name", 150)?,
            invoice_prefix: take_text(form, "invoice_prefix", 12)?,
            next_invoice_sequence: form.take_integer("next_invoice_sequence")?,
            preferred_locales: form.take_list("preferred_locales")?,
            tax_exempt: take_text(form, "tax_exempt", 20)?,
            ..Self::default()
        };
        if creating {
            change.test_clock = take_text(form, "test_clock", TEXT_MAX)?;
        }
        if let Some(Some(status)) = &change.tax_exempt
            && !["none", "exempt", "reverse"].contains(&status.as_ref())
        {
            return Err(Error::bad(
                "tax_exempt",
                "Invalid tax_exempt: must be one of exempt, none, or reverse",
            ));
        }
        if let Some(Hash::Fields(mut settings)) = form.take_hash("invoice_settings")? {
            change.invoice_footer = take_text(&mut settings, "footer", TEXT_MAX)?;
            settings.finish()?;
        }
        change.shipping = take_shipping(form)?;
        change.any = form.len() != before;
        Ok(change)
    }

    fn apply(self, rest: &mut Rest) {
        set(&mut rest.address, self.address);
        set(&mut rest.business_name, self.business_name);
        set(&mut rest.individual_name, self.individual_name);
        set(&mut rest.invoice_footer, self.invoice_footer);
        set(&mut rest.invoice_prefix, self.invoice_prefix);
        set(&mut rest.shipping, self.shipping);
        set(&mut rest.tax_exempt, self.tax_exempt);
        set(&mut rest.test_clock, self.test_clock);
        rest.balance = self.balance.unwrap_or(rest.balance);
        rest.next_invoice_sequence = self.next_invoice_sequence.or(rest.next_invoice_sequence);
        if let Some(locales) = self.preferred_locales {
            rest.preferred_locales = locales;
        }
    }
}

fn set<T>(field: &mut Option<T>, change: Field<T>) {
    if let Some(value) = change {
        *field = value;
    }
}

fn take_text(form: &mut Form, name: &str, max: usize) -> Result<Field<Box<str>>, Error> {
    let Some(text) = form.take(name)? else {
        return Ok(None);
    };
    if text.chars().count() > max {
        let start: String = text.chars().take(50).collect();
        let message = format!("Invalid string: {start}...; must be at most {max} characters");
        return Err(Error::bad(&form.full_name(name), message));
    }
    Ok(Some((!text.is_empty()).then(|| text.into_boxed_str())))
}

fn take_plain(form: &mut Form, name: &str) -> Result<Text, Error> {
    Ok(take_text(form, name, TEXT_MAX)?.flatten())
}

fn take_address(form: &mut Form) -> Result<Field<Address>, Error> {
    match form.take_hash("address")? {
        None => Ok(None),
        Some(Hash::Unset) => Ok(Some(None)),
        Some(Hash::Fields(mut fields)) => {
            let address = Address {
                city: take_plain(&mut fields, "city")?,
                country: take_plain(&mut fields, "country")?,
                line1: take_plain(&mut fields, "line1")?,
                line2: take_plain(&mut fields, "line2")?,
                postal_code: take_plain(&mut fields, "postal_code")?,
                state: take_plain(&mut fields, "state")?,
            };
            fields.finish()?;
            Ok(Some(Some(address)))
        }
    }
}

fn take_shipping(form: &mut Form) -> Result<Field<Shipping>, Error> {
    match form.take_hash("shipping")? {
        None => Ok(None),
        Some(Hash::Unset) => Ok(Some(None)),
        Some(Hash::Fields(mut fields)) => {
            let address = take_address(&mut fields)?.flatten();
            let name = take_plain(&mut fields, "name")?;
            let phone = take_plain(&mut fields, "phone")?;
            fields.finish()?;
            let missing = |param: &str| {
                Error::bad(param, format!("Missing required param: {param}."))
                    .code("parameter_missing")
            };
            let address = address.ok_or_else(|| missing("shipping[address]"))?;
            let name = name.ok_or_else(|| missing("shipping[name]"))?;
            Ok(Some(Some(Shipping {
                address,
                name: Some(name),
                phone,
            })))
        }
    }
}
