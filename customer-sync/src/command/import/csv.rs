//! Customers from CSV (RFC 4180): a record may have several lines. One that cannot be a record costs its first line
//! only: where a quote is never closed, what follows is read anew.

use std::io::{self, BufRead};

use anyhow::{Context, bail, ensure};
use csv_core::{ReadRecordResult, Reader};
use entity::fields::Field;

use super::lines::{LONGEST, Lines, RawLine, is_blank, too_long};
use super::record::{Column, Line, Record};

/// More columns than that no file of customers has.
const MOST_COLUMNS: usize = 64;

pub(super) struct Csv {
    columns: Vec<Column>,
}

/// The texts of a record, or why it is none.
type Texts = Result<Vec<String>, String>;

impl Csv {
    /// Reads the line of names.
    ///
    /// # Errors
    /// There is none, it names a column that is not known, or one twice, or no e-mail. A name that is not known may be
    /// somebody's value, so only its place is told.
    pub(super) fn begin(lines: &mut Lines<impl BufRead>) -> anyhow::Result<Self> {
        let Some((_, texts)) = next_record(lines, None)? else {
            bail!("the file is empty, and has no line of names");
        };
        let names = texts
            .map_err(anyhow::Error::msg)
            .context("the line of names")?;
        let mut columns = Vec::new();
        let mut seen = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let name = name.trim().to_ascii_lowercase();
            let column: Column = name.parse().map_err(|_| {
                anyhow::anyhow!(
                    "column {} of the first line is none of email, name, phone, description, id, stripe_id, rev and \
                     updated_at",
                    place + 1
                )
            })?;
            ensure!(!seen.contains(&name), "the first line names {name} twice");
            seen.push(name);
            columns.push(column);
        }
        ensure!(
            columns.contains(&Column::Field(Field::Email)),
            "the first line names no column email"
        );
        Ok(Self { columns })
    }

    pub(super) fn has_ignored(&self) -> bool {
        self.columns.contains(&Column::Ignored)
    }

    pub(super) fn next(&self, lines: &mut Lines<impl BufRead>) -> io::Result<Option<Line>> {
        let Some((number, texts)) = next_record(lines, Some(self.columns.len()))? else {
            return Ok(None);
        };
        let record = texts.and_then(|texts| self.record(texts));
        Ok(Some(Line { number, record }))
    }

    fn record(&self, texts: Vec<String>) -> Result<Record, String> {
        let mut email = String::new();
        let mut given = Vec::new();
        for (column, text) in self.columns.iter().zip(texts) {
            match column {
                Column::Field(Field::Email) => email = text,
                Column::Field(field) => given.push((*field, Some(text))),
                Column::Ignored => {}
            }
        }
        Record::of(&email, given)
    }
}

/// The next record that is not blank, and the number of its first line.
fn next_record(
    lines: &mut Lines<impl BufRead>,
    columns: Option<usize>,
) -> io::Result<Option<(u64, Texts)>> {
    let mut parser = Parser::new();
    let mut taken: Vec<RawLine> = Vec::new();
    loop {
        let line = lines.next()?;
        let number = taken.first().map(|first| first.number);
        let Some(line) = line else {
            return Ok(number.map(|number| (number, Err(give_back(lines, taken, not_closed())))));
        };
        let number = number.unwrap_or(line.number);
        let Some(bytes) = &line.bytes else {
            if taken.is_empty() {
                return Ok(Some((number, Err(too_long()))));
            }
            taken.push(line);
            return Ok(Some((number, Err(give_back(lines, taken, not_closed())))));
        };
        if taken.is_empty() && is_blank(bytes) {
            continue;
        }
        let parsed = parser.feed(bytes);
        taken.push(line);
        let reason = match parsed {
            Parsed::More => continue,
            Parsed::Refused(reason) => reason,
            Parsed::Record(texts) => match columns {
                Some(columns) if texts.len() != columns => {
                    format!(
                        "has {} columns, and the first line has {columns}",
                        texts.len()
                    )
                }
                _ => return Ok(Some((number, Ok(texts)))),
            },
        };
        return Ok(Some((number, Err(give_back(lines, taken, reason)))));
    }
}

/// All but the first line are read anew.
fn give_back(lines: &mut Lines<impl BufRead>, mut taken: Vec<RawLine>, reason: String) -> String {
    lines.put_back(taken.split_off(1));
    reason
}

fn not_closed() -> String {
    format!("has a quote that is not closed within {LONGEST} bytes")
}

enum Parsed {
    /// A quote is open.
    More,
    Record(Vec<String>),
    Refused(String),
}

/// One record, fed line by line.
struct Parser {
    reader: Reader,
    output: Vec<u8>,
    written: usize,
    ends: [usize; MOST_COLUMNS],
    ended: usize,
}

impl Parser {
    fn new() -> Self {
        Self {
            reader: Reader::new(),
            output: vec![0; LONGEST],
            written: 0,
            ends: [0; MOST_COLUMNS],
            ended: 0,
        }
    }

    fn feed(&mut self, line: &[u8]) -> Parsed {
        let (result, read, written, ended) = self.reader.read_record(
            line,
            &mut self.output[self.written..],
            &mut self.ends[self.ended..],
        );
        self.written += written;
        self.ended += ended;
        match result {
            ReadRecordResult::InputEmpty => Parsed::More,
            ReadRecordResult::OutputFull => Parsed::Refused(not_closed()),
            ReadRecordResult::OutputEndsFull => {
                Parsed::Refused(format!("has more than {MOST_COLUMNS} columns"))
            }
            // A line ends with its line feed; the one behind a carriage return is left over.
            ReadRecordResult::Record if is_blank(&line[read..]) => self.texts(),
            ReadRecordResult::Record | ReadRecordResult::End => {
                Parsed::Refused("has a carriage return that is not quoted".to_owned())
            }
        }
    }

    fn texts(&self) -> Parsed {
        let mut start = 0;
        let mut texts = Vec::with_capacity(self.ended);
        for end in &self.ends[..self.ended] {
            match std::str::from_utf8(&self.output[start..*end]) {
                Ok(text) => texts.push(text.to_owned()),
                Err(_) => return Parsed::Refused("is not UTF-8".to_owned()),
            }
            start = *end;
        }
        Parsed::Record(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line behind the names `email,name,description`: its number, and its texts or why it is refused.
    fn read(text: &[u8]) -> Vec<(u64, Result<Record, String>)> {
        let text = [b"email,name,description\n", text].concat();
        let mut lines = Lines::new(text.as_slice());
        let csv = Csv::begin(&mut lines).unwrap();
        std::iter::from_fn(|| csv.next(&mut lines).unwrap())
            .map(|line| (line.number, line.record))
            .collect()
    }

    fn record(email: &str, name: &str, description: &str) -> Result<Record, String> {
        let given = [(Field::Name, name), (Field::Description, description)];
        let given = given.map(|(field, text)| (field, Some(text.to_owned())));
        Record::of(email, given.to_vec())
    }

    fn refused(of: &(u64, Result<Record, String>)) -> (u64, &str) {
        (of.0, of.1.as_ref().unwrap_err())
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_breaks() {
        let read = read(b"a@x.io,\"A, \"\"B\"\"\",\"one\r\ntwo\"\r\n\r\nb@x.io,,\n");
        assert_eq!(
            read,
            [
                (2, record("a@x.io", "A, \"B\"", "one\r\ntwo")),
                (5, record("b@x.io", "", ""))
            ]
        );
    }

    #[test]
    fn a_bad_line_takes_no_other_with_it() {
        let mut text = b"a@x.io,\"never closed,\nb@x.io,B,\nc@x.io\n".to_vec();
        text.extend(b"d@x.io,\xff,\ne@x.io,E,".to_vec());
        text.extend(vec![b'e'; LONGEST]);
        text.extend(b"\nf@x.io,F\rg,\nh@x.io,H,");
        let read = read(&text);
        let numbers: Vec<u64> = read.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8]);
        assert!(refused(&read[0]).1.contains("quote"), "{read:?}");
        assert_eq!(read[1].1, record("b@x.io", "B", ""));
        let columns = "has 1 columns, and the first line has 3";
        assert_eq!(refused(&read[2]), (4, columns));
        assert_eq!(refused(&read[3]), (5, "is not UTF-8"));
        assert_eq!(refused(&read[4]), (6, "is longer than 65536 bytes"));
        assert!(refused(&read[5]).1.contains("carriage return"));
        assert_eq!(read[6].1, record("h@x.io", "H", ""));
    }

    #[test]
    fn the_line_of_names_is_checked_and_never_quoted() {
        let begin = |text: &str| {
            let mut lines = Lines::new(text.as_bytes());
            Csv::begin(&mut lines).map(|csv| csv.columns)
        };
        let names = begin("\u{feff}Email, phone ,rev\r\n").unwrap();
        let fields = [Field::Email, Field::Phone].map(Column::Field);
        assert_eq!(names, [fields[0], fields[1], Column::Ignored]);
        for (text, expected) in [
            ("", "empty"),
            ("name\n", "no column email"),
            ("email,name,email\n", "names email twice"),
            ("ada@x.io,Ada\n", "column 1 of the first line"),
        ] {
            let error = format!("{:#}", begin(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("ada"), "{error}");
        }
    }
}
