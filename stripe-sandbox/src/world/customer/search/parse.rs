//! Reads the clauses of a search query out of its text.

use std::cmp::Ordering;

use super::clause::{Accepts, Clause, Field, Test};
use crate::wire::error::Error;

/// The clauses, and whether one of them is enough.
pub(crate) fn query(text: &str) -> Result<(Vec<Clause>, bool), Error> {
    let mut reader = Reader { rest: text.trim() };
    let mut clauses = vec![reader.clause()?];
    let mut any = None;
    while !reader.rest.is_empty() {
        let or = if reader.word("OR") {
            true
        } else {
            // Stripe reads clauses that merely follow one another as joined by AND.
            reader.word("AND");
            false
        };
        if *any.get_or_insert(or) != or {
            return Err(malformed("a query can't combine AND with OR"));
        }
        clauses.push(reader.clause()?);
    }
    Ok((clauses, any.unwrap_or(false)))
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn clause(&mut self) -> Result<Clause, Error> {
        let negated = self.symbol("-");
        let field = self.field()?;
        let test = if field == Field::Created {
            self.number()?
        } else {
            self.text()?
        };
        self.rest = self.rest.trim_start();
        Ok(Clause {
            negated,
            field,
            test,
        })
    }

    fn field(&mut self) -> Result<Field, Error> {
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_lowercase())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(match name {
            "created" => Field::Created,
            "email" => Field::Email,
            "name" => Field::Name,
            "phone" => Field::Phone,
            "metadata" if self.symbol("[") => {
                let key = self.quoted()?;
                if !self.symbol("]") {
                    return Err(malformed("a metadata key must be followed by ]"));
                }
                Field::Metadata(key)
            }
            _ => {
                return Err(malformed(&format!(
                    "Field `{name}` is an unsupported search field for resource `customers`"
                )));
            }
        })
    }

    fn text(&mut self) -> Result<Test, Error> {
        if self.symbol("~") {
            let part = self.quoted()?;
            if part.chars().count() < 3 {
                return Err(malformed("a substring search needs at least 3 characters"));
            }
            return Ok(Test::Contains(part.to_lowercase()));
        }
        if !self.symbol(":") {
            return Err(malformed("expected `:` or `~` after a field"));
        }
        if self.symbol("null") {
            return Ok(Test::Null);
        }
        Ok(Test::Is(self.quoted()?.to_lowercase()))
    }

    fn number(&mut self) -> Result<Test, Error> {
        let operators: [(&str, Accepts); 5] = [
            (">=", Ordering::is_ge),
            ("<=", Ordering::is_le),
            (">", Ordering::is_gt),
            ("<", Ordering::is_lt),
            (":", Ordering::is_eq),
        ];
        let Some((_, accepts)) = operators
            .into_iter()
            .find(|(symbol, _)| self.symbol(symbol))
        else {
            return Err(malformed("expected one of : < <= > >= after created"));
        };
        let digits = match self.rest.chars().next() {
            Some('\'' | '"') => self.quoted()?,
            _ => {
                let end = self
                    .rest
                    .find(|letter: char| !letter.is_ascii_digit())
                    .unwrap_or(self.rest.len());
                let (digits, rest) = self.rest.split_at(end);
                self.rest = rest;
                digits.to_owned()
            }
        };
        let wanted = digits
            .parse()
            .map_err(|_| malformed("created is compared with a number of seconds"))?;
        Ok(Test::Number(accepts, wanted))
    }

    /// A string in single or double quotes, in which a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, Error> {
        let mut letters = self.rest.char_indices();
        let Some((_, quote @ ('\'' | '"'))) = letters.next() else {
            return Err(malformed("expected a string in quotes"));
        };
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.rest = &self.rest[at + 1..];
                return Ok(text);
            }
            if letter == '\\' {
                text.extend(letters.next().map(|(_, next)| next));
            } else {
                text.push(letter);
            }
        }
        Err(malformed("a string is not closed"))
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let matches = self
            .rest
            .get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
            && self.rest[word.len()..].starts_with(char::is_whitespace);
        if matches {
            self.rest = self.rest[word.len()..].trim_start();
        }
        matches
    }
}

fn malformed(why: &str) -> Error {
    Error::bad(
        "query",
        format!("We were unable to parse your search query: {why}."),
    )
}
