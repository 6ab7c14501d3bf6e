//! The lines of a file, each within a bound.

use std::collections::VecDeque;
use std::io::{self, BufRead, Chain, Cursor, Read};

/// The longest line, or record of several lines, in bytes.
pub(super) const LONGEST: usize = 64 * 1024;

/// A line as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawLine {
    /// From 1 on.
    pub(super) number: u64,
    /// With its line break, which the last one gets if it has none; none of a line that is too long.
    pub(super) bytes: Option<Vec<u8>>,
}

/// Reads line by line, and again those that were put back.
pub(super) struct Lines<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    /// The last byte of a line.
    end: u8,
    number: u64,
    back: VecDeque<RawLine>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the first line. Where that ends with no line feed and has carriage returns, lines end with those.
    pub(super) fn open(mut input: R) -> io::Result<Self> {
        let mut first = Vec::new();
        (&mut input)
            .take(LONGEST as u64 + 1)
            .read_until(b'\n', &mut first)?;
        let has_line_feed = first.last() == Some(&b'\n');
        let end = match !has_line_feed && first.contains(&b'\r') {
            true => b'\r',
            false => b'\n',
        };
        Ok(Self {
            input: Cursor::new(first).chain(input),
            end,
            number: 0,
            back: VecDeque::new(),
        })
    }

    /// The next one; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<RawLine>> {
        if let Some(line) = self.back.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let limit = LONGEST as u64 + 1;
        let read = (&mut self.input)
            .take(limit)
            .read_until(self.end, &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let is_too_long = bytes.len() > LONGEST;
        if is_too_long && bytes.last() != Some(&self.end) {
            self.skip_line()?;
        }
        if bytes.last() != Some(&self.end) {
            bytes.push(b'\n');
        }
        Ok(Some(RawLine {
            number: self.number,
            bytes: Some(bytes).filter(|_| !is_too_long),
        }))
    }

    /// Gives lines back, in their order, to be read again.
    pub(super) fn put_back(&mut self, lines: Vec<RawLine>) {
        for line in lines.into_iter().rev() {
            self.back.push_front(line);
        }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.input.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == self.end);
            let skipped = end.map_or(buffer.len(), |end| end + 1);
            let is_over = end.is_some() || buffer.is_empty();
            self.input.consume(skipped);
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Whether there is nothing in it.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

pub(super) fn too_long() -> String {
    format!("is longer than {LONGEST} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_has_its_number() {
        let mut text = b"one\r\n".to_vec();
        text.extend(vec![b'x'; 3 * LONGEST]);
        text.extend(b"\nthree");
        let mut lines = Lines::open(text.as_slice()).unwrap();
        let mut next = || lines.next().unwrap();
        let line = |number, bytes: Option<&[u8]>| {
            let bytes = bytes.map(<[u8]>::to_vec);
            Some(RawLine { number, bytes })
        };
        assert_eq!(next(), line(1, Some(b"one\r\n")));
        assert_eq!(next(), line(2, None));
        assert_eq!(next(), line(3, Some(b"three\n")));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_put_back_comes_again_in_its_order() {
        let mut lines = Lines::open(b"1\n2\n3\n".as_slice()).unwrap();
        let read: Vec<_> = (0..2).map(|_| lines.next().unwrap().unwrap()).collect();
        lines.put_back(read);
        let numbers: Vec<u64> = std::iter::from_fn(|| lines.next().unwrap())
            .map(|line| line.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
    }
}
