//! Reads a program's settings from its command line and its environment, with one rule for every
//! variable: whitespace around a value is removed, an empty value means "not set", and a value in
//! quotes is an error.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::mem;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, Command, Parser};

use crate::redact;

pub use near_miss::take_notes;

mod near_miss;

/// Parses the program's settings. Ends the process as clap does: after the help or the version, or
/// with one error and exit code 2.
///
/// Settings of the program itself may stand before or after a subcommand.
pub fn parse<P: Parser>() -> P {
    parse_with(&[])
}

/// The same, with names that are `mistaken` for those of settings: the mistaken name, and the setting's.
pub fn parse_with<P: Parser>(mistaken: &[(&str, &str)]) -> P {
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment is read here, once, for every setting"
    )]
    let environment = |name: &OsStr| std::env::var_os(name);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    near_miss::note(&P::command(), names, mistaken);
    parse_from(std::env::args_os(), &environment).unwrap_or_else(|error| redact::exit(&error))
}

/// The proxy, as host and port, that the environment names for requests of a scheme, `http` or `https`.
pub fn proxy(scheme: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the HTTP client reads these variables itself; here they only explain its failures"
    )]
    let read = |name: &str| std::env::var(name).ok();
    let lower = format!("{scheme}_proxy");
    let names = [
        lower.to_uppercase(),
        lower,
        "ALL_PROXY".into(),
        "all_proxy".into(),
    ];
    let url = names.iter().find_map(|name| read(name))?;
    let place = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    // Without a user and a password.
    let place = place.rsplit('@').next().unwrap_or_default();
    let place = place.split('/').next().unwrap_or_default();
    (!place.is_empty()).then(|| place.to_owned())
}

/// Reads one environment variable.
type Environment<'a> = &'a dyn Fn(&OsStr) -> Option<OsString>;

fn parse_from<P: Parser>(
    args: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
) -> Result<P, clap::Error> {
    let command = P::command();
    // A subcommand's own setting of the same name keeps it.
    let own: BTreeSet<String> = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    let command = command.mut_args(|arg| {
        let is_taken = arg.get_long().is_some_and(|long| own.contains(long));
        let is_global = !arg.is_positional() && !arg.is_required_set() && !is_taken;
        arg.global(is_global)
    });
    let mut command = with_environment(command, environment)?;
    let mut matches = command.try_get_matches_from_mut(args)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

fn with_environment(
    command: Command,
    environment: Environment<'_>,
) -> Result<Command, clap::Error> {
    let mut quoted = None;
    let mut command = command.mut_args(|arg| {
        let Some(name) = arg.get_env().map(OsStr::to_owned) else {
            return arg;
        };
        let Some(value) = environment(&name) else {
            return arg;
        };
        // clap reports what is not UTF-8.
        let Some(text) = value.to_str() else {
            return arg;
        };
        if is_quoted(text.trim()) {
            quoted.get_or_insert(name);
        }
        with_value(arg, text)
    });
    if let Some(name) = quoted {
        let name = name.to_string_lossy();
        let text = format!("{name} is set to a value in quotes; remove the quotes\n");
        return Err(clap::Error::raw(ErrorKind::InvalidValue, text).with_cmd(&command));
    }
    for subcommand in command.get_subcommands_mut() {
        *subcommand = with_environment(mem::take(subcommand), environment)?;
    }
    Ok(command)
}

/// The argument with what its variable holds, where that is not what clap would take it for.
fn with_value(arg: Arg, text: &str) -> Arg {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return arg.env(Resettable::Reset);
    }
    if trimmed == text {
        return arg;
    }
    // clap keeps the text of a default for as long as the program runs.
    let kept: &'static str = Box::leak(trimmed.to_owned().into_boxed_str());
    arg.env(Resettable::Reset)
        .default_value(kept)
        .hide_default_value(true)
}

/// Whether a value is in quotes, as `docker run --env-file` passes what a shell would unquote.
pub fn is_quoted(text: &str) -> bool {
    let mut ends = text.chars();
    match (ends.next(), ends.next_back()) {
        (Some(first), Some(last)) => first == last && matches!(first, '"' | '\''),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;
    use crate::config::Secret;

    #[derive(Parser, Debug)]
    struct Cli {
        #[arg(long, env = "SETTINGS_TEST_COUNT", default_value_t = 7)]
        count: u32,
        #[arg(long, env = "SETTINGS_TEST_KEY", hide_env_values = true)]
        key: Option<Secret>,
        #[command(subcommand)]
        command: Option<Action>,
    }

    #[derive(Subcommand, Debug)]
    enum Action {
        Run {
            #[arg(long, env = "SETTINGS_TEST_DEPTH", default_value_t = 3)]
            depth: u32,
        },
    }

    fn parsed(args: &[&str], environment: &[(&str, &str)]) -> Result<Cli, clap::Error> {
        let args = ["x"].iter().chain(args).map(OsString::from);
        let read = |name: &OsStr| {
            let found = environment.iter().find(|(known, _)| name == *known);
            found.map(|(_, value)| OsString::from(value))
        };
        parse_from(args, &read)
    }

    #[test]
    fn empty_variable_is_not_set() {
        for value in ["", " ", "\t\n"] {
            let cli = parsed(
                &["run"],
                &[
                    ("SETTINGS_TEST_COUNT", value),
                    ("SETTINGS_TEST_DEPTH", value),
                    ("SETTINGS_TEST_KEY", value),
                ],
            )
            .unwrap();
            let Some(Action::Run { depth }) = cli.command else {
                panic!("no subcommand")
            };
            assert_eq!((cli.count, depth, cli.key), (7, 3, None), "{value:?}");
        }
    }

    #[test]
    fn whitespace_around_a_value_is_removed() {
        let cli = parsed(&["run"], &[("SETTINGS_TEST_COUNT", " 9\r\n")]).unwrap();
        assert_eq!(cli.count, 9);
        let cli = parsed(&["--count", "8"], &[("SETTINGS_TEST_COUNT", " 9 ")]).unwrap();
        assert_eq!(
            cli.count, 8,
            "the command line comes before the environment"
        );
    }

    #[test]
    fn padded_secret_is_not_shown_by_help() {
        let help = parsed(&["--help"], &[("SETTINGS_TEST_KEY", " hunter2 ")]).unwrap_err();
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        assert!(!help.to_string().contains("hunter2"), "{help}");
    }

    #[test]
    fn quoted_value_is_an_error_that_names_the_variable() {
        for (name, value) in [
            ("SETTINGS_TEST_COUNT", "\"9\""),
            ("SETTINGS_TEST_KEY", " 'hunter2' "),
            ("SETTINGS_TEST_DEPTH", "\"\""),
        ] {
            let error = parsed(&["run"], &[(name, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("quotes"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
        assert!(!is_quoted("\""));
        assert!(!is_quoted("a\""));
    }

    #[test]
    fn settings_stand_before_or_after_a_subcommand() {
        for args in [["--count", "5", "run"], ["run", "--count", "5"]] {
            assert_eq!(parsed(&args, &[]).unwrap().count, 5, "{args:?}");
        }
    }
}
