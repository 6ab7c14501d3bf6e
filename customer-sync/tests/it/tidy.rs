//! The rules of the tree that no lint holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

mod advisories;

/// Which crate may use which of ours. A service never imports another.
const ARROWS: [(&str, &[&str]); 8] = [
    ("entity", &[]),
    ("migration", &[]),
    // For its test support only, which has to make a database.
    ("platform", &["migration"]),
    // Of the migration they use the names only, to compare the schema.
    ("api", &["entity", "migration", "platform"]),
    ("outbox-relay", &["entity", "migration", "platform"]),
    ("sync-worker", &["entity", "migration", "platform"]),
    ("stripe-sandbox", &["platform"]),
    (
        "customer-sync",
        &[
            "api",
            "entity",
            "migration",
            "outbox-relay",
            "platform",
            "stripe-sandbox",
            "sync-worker",
        ],
    ),
];

/// Lines that a file may have, with its unit tests.
const LONGEST_FILE: usize = 500;

/// Lines that ARCHITECTURE.md may have; detail of one part goes to a page in docs/.
const LONGEST_ARCHITECTURE: usize = 250;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .unwrap()
}

/// Every Rust file of the workspace, with its text.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ARROWS.iter().map(|(name, _)| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 100, "only {} files were found", found.len());
    found
}

#[test]
fn arrows_point_the_way_they_are_drawn() {
    let metadata = metadata();
    let names: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("{name} is new: draw its arrows here"));
        for dependency in &package.dependencies {
            let is_ours = names.contains(dependency.name.as_str());
            if is_ours && dependency.kind == DependencyKind::Normal {
                assert!(
                    allowed.contains(&dependency.name.as_str()),
                    "{name} must not use {}",
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn only_the_platform_knows_rabbitmq_and_only_the_worker_knows_stripe() {
    for package in metadata().workspace_packages() {
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Normal {
                continue;
            }
            let (of, owner) = match dependency.name.as_str() {
                "lapin" => ("RabbitMQ", "platform"),
                name if name.starts_with("async-stripe") => ("Stripe", "sync-worker"),
                _ => continue,
            };
            assert_eq!(
                package.name.as_str(),
                owner,
                "{of} is the business of {owner}"
            );
        }
    }
}

#[test]
fn the_api_knows_no_broker_and_rows_change_in_one_place_only() {
    for (path, text) in sources() {
        let path = path.display().to_string();
        if path.contains("/api/src/") {
            assert!(!text.contains("platform::broker"), "{path} uses the broker");
        }
        // Where a customer changes, its outbox row is written in the same transaction.
        let changes = [
            "customer::ActiveModel",
            "customer::Entity::insert",
            "customer::Entity::update",
        ];
        let is_change = changes.iter().any(|change| text.contains(change));
        if path.contains("/src/") && !path.contains("/entity/src/") && is_change {
            assert!(
                text.contains("outbox::enqueue"),
                "{path} changes customers unheard"
            );
        }
        // Its head says so, and is the one place that may.
        if path.contains("/platform/src/") && !path.ends_with("/lib.rs") {
            let text = text.to_lowercase();
            for word in ["customer", "stripe"] {
                assert!(!text.contains(word), "{path} mentions a {word}");
            }
        }
    }
}

#[test]
fn no_file_is_too_long_and_none_is_called_mod() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{} has {lines} lines",
            path.display()
        );
        assert_ne!(path.file_name().unwrap(), "mod.rs", "{}", path.display());
    }
}

#[test]
fn architecture_is_short() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = text.lines().count();
    assert!(
        lines <= LONGEST_ARCHITECTURE,
        "ARCHITECTURE.md has {lines} lines"
    );
}

#[test]
fn every_file_says_what_it_is_and_belongs_to_a_module() {
    let sources = sources();
    for (path, text) in &sources {
        let shown = path.display();
        assert!(text.starts_with("//! "), "{shown} has no head");
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let is_root = ["main", "lib"].contains(&stem)
            || folder
                .file_name()
                .is_some_and(|name| name == "examples" || name == "bin");
        if is_root {
            continue;
        }
        // `a/b.rs` is named by `a.rs`, or by the root of its crate or test binary.
        let parents = [
            folder.with_extension("rs"),
            folder.join("lib.rs"),
            folder.join("main.rs"),
        ];
        let declared = sources
            .iter()
            .filter(|(other, _)| parents.contains(other))
            .any(|(_, text)| {
                text.lines()
                    .any(|line| line.trim_end().ends_with(&format!("mod {stem};")))
            });
        assert!(declared, "{shown} is in no module");
    }
}
