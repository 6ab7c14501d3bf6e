//! Variables of the environment that are probably meant as settings: a name that other programs use for the same, or a
//! name with one typing error. They are logged once the log has started.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::mem;
use std::sync::{Mutex, PoisonError};

use clap::Command;

/// Names that other programs have for the settings of every program.
const MISTAKEN: [(&str, &str); 14] = [
    ("DATABASE_URI", "DATABASE_URL"),
    ("DATABASE_DSN", "DATABASE_URL"),
    ("DB_URL", "DATABASE_URL"),
    ("DB_URI", "DATABASE_URL"),
    ("POSTGRES_URL", "DATABASE_URL"),
    ("POSTGRESQL_URL", "DATABASE_URL"),
    ("PG_URL", "DATABASE_URL"),
    ("AMQP_URI", "AMQP_URL"),
    ("RABBITMQ_URL", "AMQP_URL"),
    ("RABBITMQ_URI", "AMQP_URL"),
    ("CLOUDAMQP_URL", "AMQP_URL"),
    ("BROKER_URL", "AMQP_URL"),
    ("LOG_LEVEL", "LOG"),
    ("RUST_LOG", "LOG"),
];

/// Shorter names differ by one letter from too many others.
const SHORTEST: usize = 6;

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The notes of the last parse, each once.
pub fn take_notes() -> Vec<String> {
    mem::take(&mut NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps a note of each variable that is probably meant as a setting of `command`.
pub(super) fn note(
    command: &Command,
    environment: impl IntoIterator<Item = String>,
    mistaken: &[(&str, &str)],
) {
    let notes = find(command, &environment.into_iter().collect(), mistaken);
    *NOTES.lock().unwrap_or_else(PoisonError::into_inner) = notes;
}

fn find(
    command: &Command,
    environment: &BTreeSet<String>,
    mistaken: &[(&str, &str)],
) -> Vec<String> {
    let mut settings = BTreeSet::new();
    add_settings(command, &mut settings);
    // A setting that is given is not meant by another name.
    let is_open = |setting: &&str| {
        settings.contains(*setting)
            && !environment.contains(*setting)
            && !environment.contains(&format!("{setting}_FILE"))
    };
    let meant = |name: &str| {
        let mut known = mistaken.iter().chain(&MISTAKEN);
        let known = known.find(|(other, _)| *other == name);
        let known = known.map(|(_, setting)| *setting).filter(is_open);
        known.or_else(|| {
            let mut near = settings.iter().map(String::as_str).filter(is_open);
            near.find(|setting| setting.len() >= SHORTEST && is_one_edit(name, setting))
        })
    };
    let unknown = environment.iter().filter(|name| !settings.contains(*name));
    let notes = unknown.filter_map(|name| {
        let setting = meant(name)?;
        Some(format!(
            "the variable {name} is not a setting and is ignored; did you mean {setting}?"
        ))
    });
    notes.collect()
}

fn add_settings(command: &Command, settings: &mut BTreeSet<String>) {
    let names = command.get_arguments().filter_map(|arg| arg.get_env());
    settings.extend(names.filter_map(OsStr::to_str).map(str::to_owned));
    for subcommand in command.get_subcommands() {
        add_settings(subcommand, settings);
    }
}

/// Whether two names differ by one letter that is missing, added, wrong, or swapped with the next one.
fn is_one_edit(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = |(a, b): &(&u8, &u8)| a == b;
    let start = one.iter().zip(other).take_while(same).count();
    let (one, other) = (&one[start..], &other[start..]);
    let end = one.iter().rev().zip(other.iter().rev());
    let end = end.take_while(same).count();
    let (one, other) = (&one[..one.len() - end], &other[..other.len() - end]);
    match (one, other) {
        ([_], [] | [_]) | ([], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let args = [
            "DATABASE_URL",
            "API_KEYS",
            "LOG",
            "SECRET_KEY",
            "DRAIN_DELAY",
        ];
        let args = args.map(|name| Arg::new(name).long(name).env(name));
        Command::new("x").args(args)
    }

    fn notes(environment: &[&str]) -> Vec<String> {
        let environment = environment.iter().map(|name| (*name).to_owned());
        find(
            &command(),
            &environment.collect(),
            &[("API_KEY_OF_IT", "SECRET_KEY")],
        )
    }

    #[test]
    fn name_of_another_program_or_with_a_typing_error_is_noted() {
        for (name, setting) in [
            ("DATABASE_URI", "DATABASE_URL"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASE_ULR", "DATABASE_URL"),
            ("DRAIN_DELAYS", "DRAIN_DELAY"),
            ("API_KEY", "API_KEYS"),
            ("RUST_LOG", "LOG"),
            ("API_KEY_OF_IT", "SECRET_KEY"),
        ] {
            let notes = notes(&[name, "PATH", "HOME"]);
            assert_eq!(notes.len(), 1, "{name}: {notes:?}");
            assert!(
                notes[0].contains(name) && notes[0].contains(setting),
                "{notes:?}"
            );
        }
    }

    #[test]
    fn other_names_and_names_of_given_settings_are_not() {
        assert_eq!(
            notes(&["PATH", "LOGS", "AMQP_URI", "DRAIN"]),
            [] as [String; 0]
        );
        assert_eq!(notes(&["DATABASE_URI", "DATABASE_URL"]), [] as [String; 0]);
        assert_eq!(notes(&["API_KEY", "API_KEYS_FILE"]), [] as [String; 0]);
    }
}
