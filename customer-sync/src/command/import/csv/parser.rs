//! Records of CSV (RFC 4180): one may have several lines. One that cannot be a record costs its first line only: where a
//! quote is never closed, what follows is read anew.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::super::lines::{LONGEST, Lines, RawLine, is_blank, too_long};
use super::separator::Separator;

/// More columns than that no file of customers has.
const MOST_COLUMNS: usize = 512;

/// The values of a record, or why it is none.
pub(super) type Values = Result<Vec<Vec<u8>>, String>;

/// The next record with a value that is not blank, and the number of its first line.
pub(super) fn next_record(
    lines: &mut Lines<impl BufRead>,
    separator: Separator,
    columns: Option<usize>,
) -> io::Result<Option<(u64, Values)>> {
    let mut parser = Parser::new(separator);
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
            // Spreadsheet programs write rows without values below the last one.
            Parsed::Record(values) if values.iter().all(|value| is_blank(value)) => {
                taken.clear();
                parser = Parser::new(separator);
                continue;
            }
            Parsed::Record(values) => match columns {
                Some(columns) if values.len() != columns => format!(
                    "has {} columns separated by {separator}, and the first line has {columns}",
                    values.len()
                ),
                _ => return Ok(Some((number, Ok(values)))),
            },
        };
        return Ok(Some((number, Err(give_back(lines, taken, reason)))));
    }
}

/// The values of a line by itself, if it is a record.
pub(super) fn values_of(line: &[u8], separator: Separator) -> Option<Vec<Vec<u8>>> {
    match Parser::new(separator).feed(line) {
        Parsed::Record(values) => Some(values),
        Parsed::More | Parsed::Refused(_) => None,
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
    Record(Vec<Vec<u8>>),
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
    fn new(separator: Separator) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(separator.byte()).build(),
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
            ReadRecordResult::Record if is_blank(&line[read..]) => Parsed::Record(self.values()),
            ReadRecordResult::Record | ReadRecordResult::End => {
                Parsed::Refused("has a carriage return that is not quoted".to_owned())
            }
        }
    }

    fn values(&self) -> Vec<Vec<u8>> {
        let mut start = 0;
        let mut values = Vec::with_capacity(self.ended);
        for end in &self.ends[..self.ended] {
            values.push(self.output[start..*end].to_vec());
            start = *end;
        }
        values
    }
}
