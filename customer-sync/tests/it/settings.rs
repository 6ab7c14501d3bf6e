//! The settings as they are passed and documented: those of every program's `--help` are compared with compose.yaml,
//! .env.example and the tables of the READMEs. And how a program starts without them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::process::{Process, outcome, run};

/// Set by compose.yaml itself, to where its services are.
const PLACES: [&str; 8] = [
    "ADMIN_LISTEN",
    "AMQP_URL",
    "API_ADMIN_LISTEN",
    "API_ANONYMOUS",
    "API_LISTEN",
    "DATABASE_URL",
    "DATA_DIR",
    "SANDBOX_LISTEN",
];

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The variables that a program reads.
fn settings(program: &str) -> BTreeSet<String> {
    let (code, help, _) = outcome(program, &["--help"], &[]);
    assert_eq!(code, 0, "{program}");
    let names = help.split("[env: ").skip(1);
    let names = names.map(|rest| rest.split(['=', ']']).next().unwrap().to_owned());
    let names: BTreeSet<String> = names.collect();
    assert!(names.len() > 2, "{program}: {names:?}");
    names
}

/// The same without the files that may hold a secret.
fn values(program: &str) -> BTreeSet<String> {
    let mut names = settings(program);
    names.retain(|name| !name.ends_with("_FILE") || name == "SANDBOX_FILE");
    names
}

/// The keys of a mapping of compose.yaml that begins with `head`, with those of the anchors that it includes.
fn keys(compose: &str, head: &str) -> BTreeSet<String> {
    let mut lines = compose.lines().skip_while(|line| *line != head);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines.next().unwrap_or_else(|| panic!("no {head}")));
    let block = lines.take_while(|line| line.trim().is_empty() || indent(line) > depth);
    let mut keys = BTreeSet::new();
    for line in block {
        let (key, value) = line.trim().split_once(':').unwrap_or_default();
        keys.insert(key.to_owned());
        let anchors = value.split('*').skip(1).filter(|_| key == "<<");
        for anchor in anchors {
            let name = anchor.trim_end_matches([',', ' ', ']']);
            keys.extend(self::keys(compose, &format!("x-{name}: &{name}")));
        }
    }
    keys
}

#[test]
fn compose_passes_every_setting_of_every_service() {
    let compose = text("compose.yaml");
    for (service, program) in [
        ("api", "api"),
        ("outbox-relay", "outbox-relay"),
        ("sync-worker", "sync-worker"),
        ("migration", "migration"),
        ("customer-sync", "sync-worker"),
    ] {
        let passed = keys(&compose, &format!("  {service}:"));
        for name in values(program) {
            if service == "customer-sync" && PLACES.contains(&name.as_str()) {
                continue;
            }
            assert!(passed.contains(&name), "{service} is not passed {name}");
        }
        for name in ["NO_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE"] {
            assert!(passed.contains(name), "{service} is not passed {name}");
        }
    }
}

#[test]
fn every_setting_is_documented() {
    let (readme, example) = (text("README.md"), text(".env.example"));
    let start = readme.find("\n## Settings").unwrap();
    let table = &readme[start..];
    let table = &table[..table[1..].find("\n## ").unwrap()];
    for program in [
        "api",
        "outbox-relay",
        "sync-worker",
        "migration",
        "customer-sync",
    ] {
        for name in values(program) {
            assert!(
                table.contains(&format!("`{name}`")),
                "README.md has no {name}"
            );
            let is_there = example.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{name}="))
            });
            let is_place = PLACES.contains(&name.as_str());
            assert_eq!(is_there, !is_place, ".env.example and {name}");
        }
    }
    let sandbox = text("stripe-sandbox/README.md");
    for name in settings("stripe-sandbox") {
        assert!(sandbox.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn env_file_is_not_committed() {
    let ignored = text(".gitignore");
    assert!(ignored.lines().any(|line| line == ".env"), "{ignored}");
}

fn places(folder: &Path) -> Vec<(&'static str, String)> {
    let free = || "127.0.0.1:0".to_owned();
    vec![
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("API_LISTEN", free()),
        ("ADMIN_LISTEN", free()),
        ("SANDBOX_LISTEN", free()),
    ]
}

/// Starts the all-in-one process, waits for its banner and a little longer; the banner's line of the sandbox and the log.
fn start(folder: &Path, settings: &[(&'static str, String)]) -> (String, String) {
    let mut all = places(folder);
    all.extend_from_slice(settings);
    let mut process = Process::start("customer-sync", folder, &all);
    let line = process.line_with("  Sandbox ");
    process.line_with("Ctrl-C");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(process.terminate().success());
    let log = std::fs::read_to_string(folder.join("customer-sync.log")).unwrap();
    (line, log)
}

#[test]
fn first_start_logs_no_warning_and_no_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let (line, log) = start(folder.path(), &[]);
    assert!(line.contains("nothing is sent to Stripe"), "{line}");
    for word in ["WARN", "ERROR", "igration", "Some(", "{ "] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

#[test]
fn key_under_another_name_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let key = ("STRIPE_API_KEY", "sk_test_hunter2".to_owned());
    let (line, log) = start(folder.path(), &[key]);
    assert!(line.contains("nothing is sent to Stripe"), "{line}");
    let mut warnings = log.lines().filter(|line| line.contains("WARN"));
    let warning = warnings.next().unwrap();
    assert!(warning.contains("STRIPE_SECRET_KEY"), "{log}");
    assert!(
        !log.contains("hunter2") && warnings.next().is_none(),
        "{log}"
    );
}

#[test]
fn sandbox_is_not_used_with_servers_unless_requested() {
    let folder = tempfile::tempdir().unwrap();
    for (program, name, url) in [
        (
            "customer-sync",
            "DATABASE_URL",
            "postgres://x@127.0.0.1:1/x",
        ),
        ("customer-sync", "AMQP_URL", "amqp://127.0.0.1:1"),
        ("sync-worker", "AMQP_URL", "amqp://127.0.0.1:1"),
    ] {
        let mut settings = places(folder.path());
        if program == "sync-worker" {
            settings.push(("DATABASE_URL", "postgres://x@127.0.0.1:1/x".to_owned()));
        }
        settings.push((name, url.to_owned()));
        let (code, said) = run(program, &[], &settings);
        assert_eq!(code, 1, "{program} {name}: {said}");
        assert!(said.contains("STRIPE_SANDBOX=true"), "{said}");
    }
}

#[test]
fn start_that_is_killed_leaves_data_that_start_again() {
    let folder = tempfile::tempdir().unwrap();
    for wait in (0..200).step_by(20) {
        let process = Process::start("customer-sync", folder.path(), &places(folder.path()));
        std::thread::sleep(std::time::Duration::from_millis(wait));
        process.kill();
    }
    let (line, _) = start(folder.path(), &[]);
    assert!(line.contains("http://"), "{line}");
}

#[test]
fn compose_publishes_ports_on_loopback_only() {
    let compose = text("compose.yaml");
    let published: Vec<_> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ports:"))
        .collect();
    assert_eq!(published.len(), 2, "the API and the sandbox: {published:?}");
    for ports in published {
        let ports = ports.trim().trim_matches(['[', ']']);
        assert!(ports.starts_with("\"127.0.0.1:"), "{ports}");
        assert!(!ports.contains(','), "{ports}");
        for admin in ["8001", "8002", "8003"] {
            assert!(!ports.contains(admin), "{ports}");
        }
    }
}
