//! docs/guarantees.md against the tests: each guarantee has a test, and each test exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tidy::{root, sources};

/// The tests of every file, by the path that the table names them by: that of the crate's test binary, or that of a
/// module of the crate.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(module) = module(&path) else {
            continue;
        };
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                continue;
            }
            let name = line
                .split_once("fn ")
                .and_then(|(_, rest)| rest.split_once('('));
            if let (true, Some((name, _))) = (is_test, name) {
                tests
                    .entry(module.clone())
                    .or_default()
                    .insert(name.to_owned());
            }
            is_test = false;
        }
    }
    tests
}

/// `sync_worker::upsync::doubt` of sync-worker/tests/it/upsync/doubt.rs; `entity::merge::tests` of entity/src/merge.rs.
fn module(path: &Path) -> Option<String> {
    let root = root();
    let relative = path.strip_prefix(&root).ok()?.with_extension("");
    let parts: Vec<&str> = relative.iter().filter_map(|part| part.to_str()).collect();
    let package = parts.first()?.replace('-', "_");
    let named = match &parts[1..] {
        ["tests", "it", modules @ ..] => modules.join("::"),
        ["src", modules @ .., "tests"] => format!("{}::tests", modules.join("::")),
        ["src", modules @ ..] => format!("{}::tests", modules.join("::")),
        _ => return None,
    };
    Some(format!("{package}::{named}"))
}

/// The guarantees of the table, and the tests of each.
fn table() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = rows.filter(|row| !row.starts_with("guarantee |") && !row.starts_with("---"));
    let row = |row: &str| {
        let (guarantee, tests) = row
            .trim_end_matches(" |")
            .rsplit_once(" | ")
            .unwrap_or_else(|| panic!("{row} has not two cells"));
        // Every second part is between the marks.
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned);
        (guarantee.to_owned(), tests.collect())
    };
    rows.map(row).collect()
}

#[test]
fn every_guarantee_has_tests_and_they_exist() {
    let (tests, table) = (tests(), table());
    assert!(table.len() > 50, "only {} guarantees", table.len());
    for (guarantee, named) in &table {
        assert!(!named.is_empty(), "no test shows: {guarantee}");
        for name in named {
            let (module, test) = name.rsplit_once("::").unwrap_or_default();
            let exists = tests.get(module).is_some_and(|tests| tests.contains(test));
            assert!(exists, "{name} is no test, of: {guarantee}");
        }
    }
}

/// The pages of a folder of the docs, as links from the root name them.
fn pages(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            found.extend(pages(&name));
        } else {
            found.push(name);
        }
    }
    found
}

#[test]
fn every_page_of_the_docs_is_linked() {
    let text = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let (readme, architecture) = (text("README.md"), text("ARCHITECTURE.md"));
    let pages = pages("docs");
    assert!(pages.len() > 5, "{pages:?}");
    for page in pages {
        let link = format!("({page})");
        assert!(
            readme.contains(&link) || architecture.contains(&link),
            "nothing leads to {page}"
        );
    }
}
