//! The text of a file in UTF-8, whatever its encoding. Bytes that are invalid in that encoding become one that is invalid
//! in UTF-8, so that they cost their own line and no other.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::ValueEnum;
use encoding_rs::{Decoder, DecoderResult};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// No text of UTF-8 has this byte in it.
const INVALID: u8 = 0xff;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Encoding {
    #[value(name = "utf-8")]
    Utf8,
    #[value(name = "utf-16le")]
    Utf16Le,
    #[value(name = "utf-16be")]
    Utf16Be,
    #[value(name = "windows-1252", alias = "cp1252")]
    Windows1252,
}

/// The text and what is known of it.
pub(super) struct Source {
    pub(super) text: Box<dyn BufRead + Send>,
    pub(super) encoding: Encoding,
}

impl Encoding {
    const ALL: [Self; 4] = [Self::Utf8, Self::Utf16Le, Self::Utf16Be, Self::Windows1252];

    fn codec(self) -> &'static encoding_rs::Encoding {
        match self {
            Self::Utf8 => encoding_rs::UTF_8,
            Self::Utf16Le => encoding_rs::UTF_16LE,
            Self::Utf16Be => encoding_rs::UTF_16BE,
            Self::Windows1252 => encoding_rs::WINDOWS_1252,
        }
    }

    /// The encoding that a byte order mark names, and the length of that.
    fn of_mark(start: &[u8]) -> Option<(Self, usize)> {
        let (codec, length) = encoding_rs::Encoding::for_bom(start)?;
        let named = Self::ALL.into_iter().find(|one| one.codec() == codec)?;
        Some((named, length))
    }

    /// What to say of a text that is invalid in it.
    pub(super) fn is_not(self) -> String {
        match self {
            Self::Utf8 => {
                "is not UTF-8; if a Windows program wrote the file, use --encoding windows-1252"
                    .to_owned()
            }
            other => format!("is not {other}"),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.codec().name())
    }
}

impl Source {
    /// Reads the file's start, and takes `asked`, or else what a byte order mark names, or else UTF-8. Every byte that is
    /// read is counted.
    ///
    /// # Errors
    /// The file cannot be read, or its start is of another encoding.
    pub(super) fn open(
        input: impl Read + Send + 'static,
        asked: Option<Encoding>,
        count: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let mut input = Counted { input, count };
        let mut start = Vec::new();
        (&mut input)
            .take(4)
            .read_to_end(&mut start)
            .context("reading the file")?;
        let marked = Encoding::of_mark(&start);
        let encoding = match (asked, marked) {
            (Some(asked), Some((marked, _))) if asked != marked => bail!(
                "the file begins with a byte order mark of {marked}, and --encoding says {asked}: leave out --encoding"
            ),
            (Some(asked), _) => asked,
            (None, Some((marked, _))) => marked,
            (None, None) => unmarked(&start)?,
        };
        start.drain(..marked.map_or(0, |(_, length)| length));
        let bytes = Cursor::new(start).chain(input);
        let text: Box<dyn BufRead + Send> = match encoding {
            Encoding::Utf8 => Box::new(BufReader::with_capacity(CHUNK_BYTES, bytes)),
            other => Box::new(BufReader::with_capacity(
                CHUNK_BYTES,
                Decoding::new(bytes, other.codec().new_decoder_without_bom_handling()),
            )),
        };
        Ok(Self { text, encoding })
    }
}

/// The encoding of a file without a byte order mark.
fn unmarked(start: &[u8]) -> anyhow::Result<Encoding> {
    let likely = match start {
        [0, other, ..] if *other != 0 => Encoding::Utf16Be,
        [other, 0, ..] if *other != 0 => Encoding::Utf16Le,
        _ => return Ok(Encoding::Utf8),
    };
    let name = likely.codec().name().to_ascii_lowercase();
    bail!(
        "the file seems to be {likely} without a byte order mark: if it is, use --encoding {name}"
    )
}

struct Counted<R> {
    input: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Decodes what it reads.
struct Decoding<R> {
    input: R,
    decoder: Decoder,
    /// Not decoded yet.
    raw: Vec<u8>,
    has_ended: bool,
    /// Decoded, and where what was not handed out yet begins.
    text: Vec<u8>,
    begin: usize,
    is_over: bool,
}

impl<R: Read> Decoding<R> {
    fn new(input: R, decoder: Decoder) -> Self {
        Self {
            input,
            decoder,
            raw: Vec::new(),
            has_ended: false,
            text: Vec::new(),
            begin: 0,
            is_over: false,
        }
    }

    fn decode(&mut self) -> io::Result<()> {
        if self.raw.is_empty() && !self.has_ended {
            self.raw.resize(CHUNK_BYTES, 0);
            let read = self.input.read(&mut self.raw);
            self.raw.truncate(*read.as_ref().unwrap_or(&0));
            self.has_ended = read? == 0;
        }
        // A byte of any of the encodings is at most three of UTF-8, and the decoder keeps some.
        self.text.resize(3 * self.raw.len() + 16, 0);
        self.begin = 0;
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.raw,
            &mut self.text,
            self.has_ended,
        );
        self.raw.drain(..read);
        self.text.truncate(written);
        match result {
            DecoderResult::InputEmpty => self.is_over = self.has_ended,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => self.text.push(INVALID),
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.begin == self.text.len() && !self.is_over {
            self.decode()?;
        }
        let ready = &self.text[self.begin..];
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.begin += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], asked: Option<Encoding>) -> anyhow::Result<(Vec<u8>, Encoding)> {
        let count = Arc::new(AtomicU64::new(0));
        let input = Cursor::new(bytes.to_vec());
        let mut source = Source::open(input, asked, Arc::clone(&count))?;
        let mut text = Vec::new();
        source.text.read_to_end(&mut text)?;
        assert_eq!(count.load(Ordering::Relaxed), bytes.len() as u64);
        Ok((text, source.encoding))
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn encoding_is_that_of_the_byte_order_mark() {
        let text = "email,name\nä,€😀\n".repeat(5_000);
        let marked = format!("\u{feff}{text}");
        for (bytes, encoding) in [
            (text.clone().into_bytes(), Encoding::Utf8),
            (marked.clone().into_bytes(), Encoding::Utf8),
            (utf16(&marked, u16::to_le_bytes), Encoding::Utf16Le),
            (utf16(&marked, u16::to_be_bytes), Encoding::Utf16Be),
        ] {
            let read = read(&bytes, None).unwrap();
            assert_eq!(read, (text.clone().into_bytes(), encoding));
        }
        let bytes = utf16(&text, u16::to_le_bytes);
        let asked = read(&bytes, Some(Encoding::Utf16Le)).unwrap();
        assert_eq!(asked.0, text.as_bytes());
        assert_eq!(read(b"", None).unwrap(), (Vec::new(), Encoding::Utf8));
    }

    #[test]
    fn windows_1252_is_read_on_request() {
        let (text, _) = read(b"Jos\xe9 10 \x96 20 \x80", Some(Encoding::Windows1252)).unwrap();
        assert_eq!(text, "José 10 – 20 €".as_bytes());
    }

    #[test]
    fn other_encoding_than_asked_is_an_error() {
        let error = |bytes: &[u8], asked| read(bytes, asked).unwrap_err().to_string();
        let text = error("\u{feff}a".as_bytes(), Some(Encoding::Windows1252));
        assert!(text.contains("byte order mark of UTF-8"), "{text}");
        let text = error(&utf16("email", u16::to_be_bytes), None);
        assert!(text.contains("--encoding utf-16be"), "{text}");
    }

    #[test]
    fn half_a_surrogate_pair_is_invalid_for_itself() {
        let mut bytes = utf16("\u{feff}a", u16::to_le_bytes);
        bytes.extend([0x00, 0xd8]);
        bytes.extend(utf16("b", u16::to_le_bytes));
        bytes.push(b'x');
        assert_eq!(read(&bytes, None).unwrap().0, b"a\xffb\xff");
    }
}
