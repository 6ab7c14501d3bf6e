//! The advisories that are ignored, and what makes each of them harmless here.

use std::collections::BTreeSet;
use std::fs::read_to_string;

use super::{root, sources};

/// A package of Cargo.lock: its name, its version, and the names of what it depends on.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    dependencies: BTreeSet<&'a str>,
}

fn packages(lock: &str) -> impl Iterator<Item = Package<'_>> {
    lock.split("[[package]]").skip(1).map(|text| {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_matches(['=', ' ', '"'])
        };
        let listed = text.lines().filter_map(|line| line.strip_prefix(" \""));
        let name_of = |line: &'_ str| -> usize { line.find([' ', '"']).unwrap_or(line.len()) };
        Package {
            name: value("name"),
            version: value("version"),
            dependencies: listed.map(|line| &line[..name_of(line)]).collect(),
        }
    })
}

/// RUSTSEC-2026-0194 and -0195: XML from an attacker costs quick-xml before 0.41 time and memory without bound.
#[test]
fn no_xml_is_parsed_and_only_poem_asks_for_quick_xml() {
    let lock = read_to_string(root().join("Cargo.lock")).unwrap();
    let packages: Vec<_> = packages(&lock).collect();
    let found = packages.iter().find(|package| package.name == "quick-xml");
    let ignored = read_to_string(root().join(".cargo/audit.toml")).unwrap();
    let is_ignored = ignored.contains("quick-xml");
    let is_affected = found.is_some_and(|found| {
        let minor: u32 = found.version.split('.').nth(1).unwrap().parse().unwrap();
        found.version.starts_with("0.") && minor < 41
    });
    assert_eq!(
        is_ignored, is_affected,
        "the exception goes when quick-xml is 0.41 or gone: .cargo/audit.toml and docs/dependencies.md"
    );
    let users: BTreeSet<&str> = packages
        .iter()
        .filter(|package| package.dependencies.contains("quick-xml"))
        .map(|package| package.name)
        .collect();
    assert!(
        users.is_subset(&BTreeSet::from(["poem", "poem-openapi"])),
        "{users:?}"
    );
    for (path, text) in sources() {
        let uses_xml = ["web::Xml", "payload::Xml", "quick_xml::"].map(|name| text.contains(name));
        let is_this = path.ends_with("tidy/advisories.rs");
        assert!(
            is_this || !uses_xml.contains(&true),
            "{} parses XML",
            path.display()
        );
    }
}
