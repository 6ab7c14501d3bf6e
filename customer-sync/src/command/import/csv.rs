//! Customers from CSV: the columns are found by the first line, and each record below it is a customer.

use std::io::{self, BufRead};

use anyhow::{Context, bail};
use entity::fields::{Field, Member};

use super::lines::{Lines, is_blank, too_long};
use super::record::{Line, Record};
use super::source::Encoding;

use columns::{Columns, Target};
use parser::{next_record, values_of};
use separator::Separator;

pub(super) use columns::Layout;

mod columns;
mod parser;
mod preset;
mod separator;

pub(super) struct Csv {
    layout: Layout,
    encoding: Encoding,
    separator: Separator,
    columns: Columns,
}

impl Csv {
    /// Reads the line of names.
    ///
    /// # Errors
    /// There is none, or its columns are not those of customers: see [`Columns::of`].
    pub(super) fn begin(
        lines: &mut Lines<impl BufRead>,
        layout: Layout,
        encoding: Encoding,
    ) -> anyhow::Result<Self> {
        let separator = separator(lines, &layout)?;
        let Some((_, values)) = next_record(lines, separator, None)? else {
            bail!("the file is empty, and has no line of names");
        };
        let values = values
            .map_err(anyhow::Error::msg)
            .context("the line of names")?;
        let mut names = Vec::with_capacity(values.len());
        for (place, value) in values.into_iter().enumerate() {
            let Ok(name) = String::from_utf8(value) else {
                bail!(
                    "column {} of the first line {}",
                    place + 1,
                    encoding.is_not()
                );
            };
            names.push(name);
        }
        let columns = Columns::of(&names, &layout, separator)?;
        Ok(Self {
            layout,
            encoding,
            separator,
            columns,
        })
    }

    /// What is ignored, in sentences for the summary.
    pub(super) fn ignored(&self) -> String {
        let mut text = String::new();
        if self.columns.has_export_columns {
            text.push_str(" id, stripe_id, rev and updated_at of a csv file are ignored.");
        }
        match self.columns.ignored {
            0 => {}
            1 => text.push_str(" 1 other column is ignored."),
            count => text.push_str(&format!(" {count} other columns are ignored.")),
        }
        text
    }

    pub(super) fn next(&self, lines: &mut Lines<impl BufRead>) -> io::Result<Option<Line>> {
        let count = self.columns.targets.len();
        let Some((number, values)) = next_record(lines, self.separator, Some(count))? else {
            return Ok(None);
        };
        let record = values.and_then(|values| self.record(values));
        Ok(Some(Line { number, record }))
    }

    fn record(&self, values: Vec<Vec<u8>>) -> Result<Record, String> {
        let mut email = String::new();
        let mut given = Vec::new();
        let mut names = [None, None];
        for (target, value) in self.columns.targets.iter().zip(values) {
            if *target == Target::Ignored {
                continue;
            }
            let text = String::from_utf8(value)
                .map_err(|_| format!("{target} {}", self.encoding.is_not()))?;
            let text = match self.layout.preset {
                Some(preset) => preset.value(&text).into_owned(),
                None => text,
            };
            match target {
                Target::Field(Field::Email) => email = text,
                Target::Field(field) => given.push((Member::Field(*field), Some(text))),
                Target::ExternalId => given.push((Member::ExternalId, Some(text))),
                Target::FirstName => names[0] = Some(text),
                Target::LastName => names[1] = Some(text),
                Target::Ignored => {}
            }
        }
        if names.iter().any(Option::is_some) {
            let parts = names.iter().flatten().map(|part| part.trim());
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            given.push((Field::Name.into(), Some(parts.join(" "))));
        }
        if self.layout.preset.is_some() {
            // Such a program exports every column, and an empty one says that it does not know.
            given.retain(|(_, text)| text.as_ref().is_some_and(|text| !text.trim().is_empty()));
        }
        Record::of(&email, given)
    }
}

/// What is given, or else what a line before the names says, or else the one with which the line of names has an e-mail,
/// or else the most frequent one. A line before the names that says it is taken out.
fn separator(lines: &mut Lines<impl BufRead>, layout: &Layout) -> anyhow::Result<Separator> {
    let first = loop {
        match lines.next().context("reading the file")? {
            Some(line) if line.bytes.as_deref().is_some_and(is_blank) => {}
            Some(line) => break line,
            None => return Ok(Separator::COMMA),
        }
    };
    let Some(bytes) = first.bytes.clone() else {
        bail!("the line of names {}", too_long());
    };
    if let Some(declared) = Separator::of_declaration(&bytes) {
        return Ok(layout.delimiter.unwrap_or(declared));
    }
    lines.put_back(vec![first]);
    if let Some(given) = layout.delimiter {
        return Ok(given);
    }
    let candidates = Separator::candidates(&bytes);
    let names_email = |separator: &Separator| {
        let values = values_of(&bytes, *separator).unwrap_or_default();
        let names: Vec<String> = values
            .iter()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let lenient = Layout {
            ignore_unknown: true,
            ..layout.clone()
        };
        Columns::of(&names, &lenient, *separator).is_ok()
    };
    let found = candidates.iter().copied().find(names_email);
    let most_frequent = candidates.first().copied();
    Ok(found.or(most_frequent).unwrap_or(Separator::COMMA))
}

#[cfg(test)]
mod tests;
