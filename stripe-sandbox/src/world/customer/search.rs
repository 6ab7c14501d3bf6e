//! The subset of Stripe's Search Query Language that customers have: clauses over created, email, metadata,
//! name and phone, joined by AND or OR, never both; letters match in any case.

mod clause;
mod parse;

use self::clause::{Clause, Field, Test};
use super::record::Customer;
use crate::wire::error::Error;

/// A parsed `query`.
#[derive(Debug)]
pub(crate) struct Query {
    clauses: Vec<Clause>,
    any: bool,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (clauses, any) = parse::query(text)?;
        Ok(Self { clauses, any })
    }

    pub(crate) fn admits(&self, customer: &Customer) -> bool {
        if self.any {
            self.clauses.iter().any(|clause| clause.admits(customer))
        } else {
            self.clauses.iter().all(|clause| clause.admits(customer))
        }
    }

    /// The address that every match has, in lower case, when the query asks for one: an index serves it.
    pub(crate) fn exact_email(&self) -> Option<&str> {
        if self.any && self.clauses.len() > 1 {
            return None;
        }
        self.clauses.iter().find_map(
            |clause| match (&clause.field, &clause.test, clause.negated) {
                (Field::Email, Test::Is(email), false) => Some(email.as_str()),
                _ => None,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Customer, Id};
    use super::*;

    fn matches(query: &str) -> bool {
        let mut ada = Customer::new(Id::parse("", "AAAAAAAAAAAAAA").unwrap(), 100, 0);
        ada.email = Some("Ada@Example.com".into());
        ada.name = Some("Ada O'Hara".into());
        ada.metadata = vec![("plan".into(), "Gold".into())];
        Query::parse(query).unwrap().admits(&ada)
    }

    #[test]
    fn clauses_match_in_any_case_and_join() {
        assert!(matches("email:'ada@example.com'"));
        assert!(matches("email~\"EXAMPLE\" AND metadata['plan']:'gold'"));
        assert!(matches("name:'ada o\\'hara' created>=100"));
        assert!(matches("name:'x' OR phone:null"));
        assert!(matches("-name:'x' AND created<101"));
        assert!(!matches("metadata[\"plan\"]:'silver'"));
        assert!(!matches("-metadata['plan']:'gold'"));
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for query in [
            "",
            "email",
            "email:'x",
            "email~'ab'",
            "colour:'x'",
            "name:'a' AND phone:'b' OR name:'c'",
            "created>x",
        ] {
            assert_eq!(
                Query::parse(query).unwrap_err().param.as_deref(),
                Some("query"),
                "{query}"
            );
        }
    }
}
