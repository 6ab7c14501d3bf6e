//! The column names of other programs' exports.

use std::borrow::Cow;
use std::fmt;

use clap::ValueEnum;
use entity::fields::Field;

use super::columns::Target;

/// Whose export it is. Columns that a preset does not name are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Preset {
    /// Customers of Stripe's dashboard
    Stripe,
    /// Customers of Shopify's admin
    Shopify,
    /// Contacts of a Mailchimp audience
    Mailchimp,
    /// Contacts of HubSpot
    Hubspot,
}

const FIRST_AND_LAST: [(&str, Target); 2] = [
    ("first name", Target::FirstName),
    ("last name", Target::LastName),
];

impl Preset {
    const ALL: [Self; 4] = [Self::Stripe, Self::Shopify, Self::Mailchimp, Self::Hubspot];

    /// Names in lower case. Of two columns for one field the first here counts.
    pub(super) fn columns(self) -> Vec<(&'static str, Target)> {
        let field = |name, field| (name, Target::Field(field));
        let mut columns = match self {
            Self::Stripe => vec![
                field("email", Field::Email),
                field("name", Field::Name),
                field("phone", Field::Phone),
                field("description", Field::Description),
            ],
            // The note is the merchant's own, and no description of the customer.
            Self::Shopify => vec![field("email", Field::Email), field("phone", Field::Phone)],
            Self::Mailchimp => vec![
                field("email address", Field::Email),
                field("phone number", Field::Phone),
                field("phone", Field::Phone),
            ],
            Self::Hubspot => vec![
                field("email", Field::Email),
                field("phone number", Field::Phone),
                field("mobile phone number", Field::Phone),
            ],
        };
        if self != Self::Stripe {
            columns.extend(FIRST_AND_LAST);
        }
        columns
    }

    /// A column that this program's exports have and others have not, in lower case.
    fn mark(self) -> &'static str {
        match self {
            Self::Stripe => "created (utc)",
            Self::Shopify => "accepts email marketing",
            Self::Mailchimp => "email address",
            Self::Hubspot => "record id",
        }
    }

    /// The preset for these columns, by names in lower case.
    pub(super) fn for_names(names: &[String]) -> Option<Self> {
        let has_mark = |preset: &Self| names.iter().any(|name| name == preset.mark());
        Self::ALL.into_iter().find(has_mark)
    }

    /// A value as it is meant: Shopify writes an apostrophe before digits and signs, so that spreadsheets take the rest
    /// for a text.
    pub(super) fn value(self, text: &str) -> Cow<'_, str> {
        let meant = text.strip_prefix('\'').filter(|rest| {
            self == Self::Shopify && rest.starts_with(|c: char| c.is_ascii_digit() || c == '+')
        });
        Cow::Borrowed(meant.unwrap_or(text))
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stripe => "stripe",
            Self::Shopify => "shopify",
            Self::Mailchimp => "mailchimp",
            Self::Hubspot => "hubspot",
        })
    }
}
