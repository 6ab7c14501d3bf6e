//! Files as programs write them.

use super::preset::Preset;
use super::*;
use crate::command::import::lines::LONGEST;

type Read = Vec<(u64, Result<Record, String>)>;

fn read_as(text: &[u8], layout: Layout) -> Read {
    let mut lines = Lines::open(text).unwrap();
    let csv = Csv::begin(&mut lines, layout, Encoding::Utf8).unwrap();
    std::iter::from_fn(|| csv.next(&mut lines).unwrap())
        .map(|line| (line.number, line.record))
        .collect()
}

/// Every line behind the names `email,name,description`: its number, and its values or why it is refused.
fn read(text: &[u8]) -> Read {
    let text = [b"email,name,description\n", text].concat();
    read_as(&text, Layout::default())
}

fn record(email: &str, given: &[(Field, &str)]) -> Result<Record, String> {
    let given = given
        .iter()
        .map(|(field, text)| (Member::Field(*field), Some((*text).to_owned())));
    Record::of(email, given.collect())
}

fn described(email: &str, name: &str, description: &str) -> Result<Record, String> {
    record(
        email,
        &[(Field::Name, name), (Field::Description, description)],
    )
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
            (2, described("a@x.io", "A, \"B\"", "one\r\ntwo")),
            (5, described("b@x.io", "", ""))
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
    assert_eq!(read[1].1, described("b@x.io", "B", ""));
    let columns = "has 1 columns separated by commas, and the first line has 3";
    assert_eq!(refused(&read[2]), (4, columns));
    let encoding =
        "name is not UTF-8; if a Windows program wrote the file, use --encoding windows-1252";
    assert_eq!(refused(&read[3]), (5, encoding));
    assert_eq!(refused(&read[4]), (6, "is longer than 65536 bytes"));
    assert!(refused(&read[5]).1.contains("carriage return"));
    assert_eq!(read[6].1, described("h@x.io", "H", ""));
}

#[test]
fn rows_without_values_are_skipped() {
    let read = read(b"a@x.io,A,\r\n,,\r\n\"\",\"\",\"\"\r\n , ,\r\n,,,,\r\nb@x.io,B,\r\n");
    assert_eq!(
        read,
        [
            (2, described("a@x.io", "A", "")),
            (7, described("b@x.io", "B", ""))
        ]
    );
}

#[test]
fn separator_is_detected_declared_or_given() {
    let expected = record("a@x.io", &[(Field::Name, "B, A; x")]);
    let layout = |delimiter: &str| Layout {
        delimiter: Some(delimiter.parse().unwrap()),
        ..Layout::default()
    };
    for (text, layout, number) in [
        ("email;name\na@x.io;B, A\u{3b} x\n", Layout::default(), 0),
        ("email;name\r\na@x.io;\"B, A; x\"\r\n", Layout::default(), 2),
        ("email\tname\na@x.io\tB, A; x\n", Layout::default(), 2),
        (
            "\nsep=;\r\n\r\nemail;name\na@x.io;\"B, A; x\"\n",
            Layout::default(),
            5,
        ),
        ("sep=|\nemail|name\na@x.io|B, A; x\n", Layout::default(), 3),
        ("email|name\na@x.io|B, A; x\n", layout("pipe"), 2),
        ("sep=;\nemail,name\na@x.io,\"B, A; x\"\n", layout(","), 3),
        (
            "\"name\",\"email\"\n\"B, A; x\",a@x.io\n",
            Layout::default(),
            2,
        ),
    ] {
        if number == 0 {
            // Not quoted, it is a separator.
            let read = read_as(text.as_bytes(), layout);
            assert!(
                refused(&read[0])
                    .1
                    .contains("has 3 columns separated by semicolons")
            );
            continue;
        }
        assert_eq!(
            read_as(text.as_bytes(), layout),
            [(number, expected.clone())],
            "{text}"
        );
    }
}

#[test]
fn separator_is_the_one_that_makes_a_column_of_the_email() {
    let text = "name, first and last, or company;email\nAda;a@x.io\n";
    let layout = Layout {
        ignore_unknown: true,
        ..Layout::default()
    };
    assert_eq!(
        read_as(text.as_bytes(), layout),
        [(2, record("a@x.io", &[]))]
    );
}

#[test]
fn lines_may_end_with_carriage_returns() {
    let text = b"email,name\ra@x.io,\"A\rB\"\r\rb@x.io,B";
    let expected = [
        (2, record("a@x.io", &[(Field::Name, "A\rB")])),
        (5, record("b@x.io", &[(Field::Name, "B")])),
    ];
    assert_eq!(read_as(text, Layout::default()), expected);
}

#[test]
fn preset_joins_names_and_leaves_out_empty_values() {
    let layout = |preset| Layout {
        preset: Some(preset),
        ..Layout::default()
    };
    // A column that is ignored may hold anything.
    let text = b"Customer ID,First Name,Last Name,Email,Phone,Note\r\n\
                 '1001, Anna ,Example,a@x.io,'+4930123,\xc3\r\n\
                 '1002,,,b@x.io,,\r\n\
                 '3,'Anna,O'Neill,c@x.io,'x,\r\n";
    assert_eq!(
        read_as(text, layout(Preset::Shopify)),
        [
            (
                2,
                record(
                    "a@x.io",
                    &[(Field::Phone, "+4930123"), (Field::Name, "Anna Example")]
                )
            ),
            (3, record("b@x.io", &[])),
            (
                4,
                record(
                    "c@x.io",
                    &[(Field::Phone, "'x"), (Field::Name, "'Anna O'Neill")]
                )
            ),
        ]
    );
    let text = "Email Address,First Name,Last Name\na@x.io,,Example\n";
    assert_eq!(
        read_as(text.as_bytes(), layout(Preset::Mailchimp)),
        [(2, record("a@x.io", &[(Field::Name, "Example")]))]
    );
}

#[test]
fn first_line_is_checked() {
    for (text, expected) in [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("name\n", "no column email"),
        (
            "ada@x.io;Ada;1\n",
            "separated by semicolons it has 3 columns",
        ),
        ("email,n\u{3}ame\n", "column 2"),
    ] {
        let mut lines = Lines::open(text.as_bytes()).unwrap();
        let begun = Csv::begin(&mut lines, Layout::default(), Encoding::Utf8);
        let error = format!("{:#}", begun.err().unwrap());
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("ada"), "{error}");
    }
}
