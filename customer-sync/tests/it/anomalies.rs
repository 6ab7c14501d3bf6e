//! ANOMALIES.md against the tests: each anomaly has tests that name it, and the table names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tidy::sources;

/// How many are known.
const COUNT: usize = 70;

/// The numbers in a comment, as in `A7` or `A33-A35, A41`.
fn numbers(comment: &str) -> impl Iterator<Item = usize> {
    comment
        .split(|sign: char| !sign.is_alphanumeric())
        .filter_map(|word| word.strip_prefix('A')?.parse().ok())
}

/// Which tests name which anomaly in their comments.
fn named() -> BTreeMap<usize, BTreeSet<String>> {
    let mut named: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (_, text) in sources() {
        let (mut comment, mut is_test) = (String::new(), false);
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                comment.push_str(words);
            } else if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            } else {
                let name = line
                    .split_once("fn ")
                    .and_then(|(_, rest)| rest.split_once('('));
                if let (true, Some((name, _))) = (is_test, name) {
                    for number in numbers(&comment) {
                        named.entry(number).or_default().insert(name.to_owned());
                    }
                }
                (comment, is_test) = (String::new(), false);
            }
        }
    }
    named
}

/// What the table says: number and tests.
fn table() -> BTreeMap<usize, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ANOMALIES.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| A"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [number, what, result, tests] = cells[..] else {
            panic!("{row} has not four cells");
        };
        assert!(!what.is_empty() && !result.is_empty(), "{row}");
        // Every second part is between the marks.
        let tests = tests.split('`').skip(1).step_by(2);
        (number.parse().unwrap(), tests.map(str::to_owned).collect())
    };
    rows.map(row).collect()
}

#[test]
fn every_anomaly_has_tests_and_the_table_names_them() {
    let (named, table) = (named(), table());
    assert!(table.keys().copied().eq(1..=COUNT), "{:?}", table.keys());
    for (number, tests) in &table {
        assert!(!tests.is_empty(), "A{number} has no test");
        let expected = named.get(number).cloned().unwrap_or_default();
        assert_eq!(*tests, expected, "the tests of A{number} in ANOMALIES.md");
    }
    assert!(named.keys().all(|number| *number <= COUNT), "{named:?}");
}
