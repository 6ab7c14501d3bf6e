//! What the columns of a CSV file hold, by their names, a preset, and what the command line says.

use std::fmt;
use std::str::FromStr;

use anyhow::{anyhow, bail, ensure};
use entity::fields::{Field, Member};

use super::super::record::IGNORED;
use super::preset::Preset;
use super::separator::Separator;

/// Names that are quoted in an error at most; longer ones are no names.
const LONGEST_NAME: usize = 64;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Field(Field),
    ExternalId,
    /// The name is made of both, with a space between them.
    FirstName,
    LastName,
    Ignored,
}

/// How columns are found.
#[derive(clap::Args, Clone, Debug, Default)]
pub(in super::super) struct Layout {
    /// What separates the columns of a csv file: comma, semicolon, tab, pipe or a character; absent: what the first line has
    #[arg(long, value_name = "SEPARATOR")]
    pub(super) delimiter: Option<Separator>,
    /// The program that has exported the csv file. Its other columns are ignored, and its empty values change nothing
    #[arg(long, value_enum)]
    pub(super) preset: Option<Preset>,
    /// What a column of the csv file holds: email, name, phone, description, external_id, first_name, last_name or ignore; may be repeated
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    pub(super) maps: Vec<Map>,
    /// Ignore columns and members that are not known
    #[arg(long)]
    pub(in super::super) ignore_unknown: bool,
}

impl Layout {
    /// Whether it holds anything that only a csv file has.
    pub(in super::super) fn is_for_csv(&self) -> bool {
        self.delimiter.is_some() || self.preset.is_some() || !self.maps.is_empty()
    }
}

/// A column of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// In lower case.
    column: String,
    target: Target,
}

/// What the columns hold, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) targets: Vec<Target>,
    /// Columns of an export of ours that cannot be changed.
    pub(super) has_export_columns: bool,
    /// Other columns that are ignored.
    pub(super) ignored: usize,
}

impl Columns {
    /// # Errors
    /// A column is not known, two hold the same, or none holds the e-mail. Where there is no e-mail, the line may be no
    /// line of names but one of values: then none of it is quoted.
    pub(super) fn of(
        names: &[String],
        layout: &Layout,
        separator: Separator,
    ) -> anyhow::Result<Self> {
        let given = names;
        let names: Vec<String> = given.iter().map(|name| normal(name)).collect();
        for map in &layout.maps {
            ensure!(
                names.contains(&map.column),
                "--map names the column {:?}, which the first line, separated by {separator}, does not have",
                map.column
            );
        }
        let mut columns = Self {
            targets: Vec::with_capacity(names.len()),
            has_export_columns: false,
            ignored: 0,
        };
        let mut unknown = Vec::new();
        for name in &names {
            let target = columns.target(name, layout);
            if target.is_none() {
                unknown.push(columns.targets.len());
            }
            columns.targets.push(target.unwrap_or(Target::Ignored));
        }
        let hint = Preset::for_names(&names).filter(|_| layout.preset.is_none());
        let hint = hint.map(|preset| format!("; it seems to need --preset {preset}"));
        let hint = hint.unwrap_or_default();
        if !columns.targets.contains(&Target::Field(Field::Email)) {
            let count = names.len();
            bail!(
                "the first line names no column email; separated by {separator} it has {count} columns{hint}; --map \
                 COLUMN=email names another, and --delimiter another separator"
            );
        }
        if let Some(place) = unknown.first() {
            let others = unknown.len() - 1;
            return Err(is_unknown(given[*place].trim(), (*place, others), &hint));
        }
        columns.check_doubles()?;
        Ok(columns)
    }

    /// None for a name that is not known.
    fn target(&mut self, name: &str, layout: &Layout) -> Option<Target> {
        if let Some(map) = layout.maps.iter().find(|map| map.column == name) {
            return Some(map.target);
        }
        if let Some(preset) = layout.preset {
            let found = preset
                .columns()
                .into_iter()
                .find(|(known, _)| *known == name);
            let is_free = |target: &Target| {
                let is_mapped = layout.maps.iter().any(|map| map.target == *target);
                !is_mapped && !self.targets.contains(target)
            };
            let target = found.map(|(_, target)| target).filter(is_free);
            self.ignored += usize::from(target.is_none());
            return Some(target.unwrap_or(Target::Ignored));
        }
        if IGNORED.contains(&name) {
            self.has_export_columns = true;
            return Some(Target::Ignored);
        }
        if let Ok(field) = name.parse() {
            return Some(Target::Field(field));
        }
        if name == Member::ExternalId.as_str() {
            return Some(Target::ExternalId);
        }
        // A separator at the end of each line makes a column without a name.
        let is_ignored = layout.ignore_unknown || name.is_empty();
        self.ignored += usize::from(is_ignored);
        is_ignored.then_some(Target::Ignored)
    }

    fn check_doubles(&self) -> anyhow::Result<()> {
        for (place, target) in self.targets.iter().enumerate() {
            let earlier = &self.targets[..place];
            let other = earlier.iter().position(|other| target.excludes(*other));
            if let Some(other) = other {
                bail!(
                    "columns {} and {} of the first line both hold {target}; leave one out with --map COLUMN=ignore",
                    other + 1,
                    place + 1
                );
            }
        }
        Ok(())
    }
}

fn is_unknown(name: &str, (place, others): (usize, usize), hint: &str) -> anyhow::Error {
    let is_name = !name.contains('@') && name.chars().count() <= LONGEST_NAME;
    let quoted = if is_name {
        format!(" {name:?}")
    } else {
        String::new()
    };
    let others = match others {
        0 => String::new(),
        others => format!(", and {others} others,"),
    };
    let be = if others.is_empty() { "is" } else { "are" };
    anyhow!(
        "column {}{quoted} of the first line{others} {be} not known{hint}; --map COLUMN=FIELD says what a column holds, \
         and --ignore-unknown ignores the others",
        place + 1
    )
}

fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Target {
    /// Whether one line cannot have both.
    fn excludes(self, other: Self) -> bool {
        let is_part = |target| matches!(target, Self::FirstName | Self::LastName);
        let is_name = |target| target == Self::Field(Field::Name);
        self != Self::Ignored
            && (self == other || is_part(self) && is_name(other) || is_name(self) && is_part(other))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => field.fmt(f),
            Self::ExternalId => Member::ExternalId.fmt(f),
            Self::FirstName => f.write_str("first_name"),
            Self::LastName => f.write_str("last_name"),
            Self::Ignored => f.write_str("ignore"),
        }
    }
}

impl FromStr for Map {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (column, target) = text
            .rsplit_once('=')
            .ok_or_else(|| "must be COLUMN=FIELD".to_owned())?;
        let target = match target.trim() {
            "external_id" => Target::ExternalId,
            "first_name" => Target::FirstName,
            "last_name" => Target::LastName,
            "ignore" => Target::Ignored,
            field => field.parse().map(Target::Field).map_err(|_| {
                "the field must be email, name, phone, description, external_id, first_name, last_name or ignore"
            })?,
        };
        Ok(Self {
            column: normal(column),
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMAIL: Target = Target::Field(Field::Email);
    const NAME: Target = Target::Field(Field::Name);
    const PHONE: Target = Target::Field(Field::Phone);

    fn columns(names: &str, layout: &Layout) -> anyhow::Result<Vec<Target>> {
        let names: Vec<String> = names.split(',').map(str::to_owned).collect();
        Columns::of(&names, layout, Separator::COMMA).map(|columns| columns.targets)
    }

    fn with(maps: &[&str]) -> Layout {
        Layout {
            maps: maps.iter().map(|map| map.parse().unwrap()).collect(),
            ..Layout::default()
        }
    }

    fn preset(preset: Preset) -> Layout {
        Layout {
            preset: Some(preset),
            ..Layout::default()
        }
    }

    #[test]
    fn names_are_compared_without_case_and_space() {
        let known = columns(" Email,PHONE ,rev,", &Layout::default()).unwrap();
        assert_eq!(known, [EMAIL, PHONE, Target::Ignored, Target::Ignored]);
    }

    #[test]
    fn map_names_the_columns_of_any_file() {
        let maps = with(&["E-Mail=email", "Full=Name=name", "email=ignore"]);
        let found = columns("e-mail,full=name,email", &maps).unwrap();
        assert_eq!(found, [EMAIL, NAME, Target::Ignored]);
        let error = columns("email,name", &with(&["Mail=email"])).unwrap_err();
        assert!(error.to_string().contains("\"mail\""), "{error}");
        for text in ["email", "a=b", "=", "a=id"] {
            assert!(text.parse::<Map>().is_err(), "{text}");
        }
    }

    #[test]
    fn presets_find_their_columns_and_ignore_the_others() {
        let (first, last, ignored) = (Target::FirstName, Target::LastName, Target::Ignored);
        let found = |names, layout: &Layout| columns(names, layout).unwrap();
        assert_eq!(
            found(
                "id,Description,Email,Name,Created (UTC)",
                &preset(Preset::Stripe)
            ),
            [
                ignored,
                Target::Field(Field::Description),
                EMAIL,
                NAME,
                ignored
            ]
        );
        let shopify = "Customer ID,First Name,Last Name,Email,Default Address Phone,Phone,Note";
        assert_eq!(
            found(shopify, &preset(Preset::Shopify)),
            [ignored, first, last, EMAIL, ignored, PHONE, ignored]
        );
        assert_eq!(
            found(
                "Email Address,First Name,Phone Number,Phone",
                &preset(Preset::Mailchimp)
            ),
            [EMAIL, first, PHONE, ignored]
        );
        assert_eq!(
            found(
                "Record ID,Email,Last Name,Phone Number",
                &preset(Preset::Hubspot)
            ),
            [ignored, EMAIL, last, PHONE]
        );
        // The command line goes before the preset.
        let mapped = Layout {
            maps: with(&["Default Address Phone=phone"]).maps,
            ..preset(Preset::Shopify)
        };
        let mapped = found(shopify, &mapped);
        assert_eq!((mapped[4], mapped[5]), (PHONE, ignored));
    }

    #[test]
    fn errors_name_the_column_the_separator_and_the_preset() {
        for (names, layout, expected) in [
            (
                "ada@x.io;Ada",
                Layout::default(),
                "separated by commas it has 1 columns",
            ),
            (
                "Email Address,City",
                Layout::default(),
                "--preset mailchimp",
            ),
            (
                "email,Created (UTC),City",
                Layout::default(),
                "column 2 \"Created (UTC)\" of the first line, and 1 others, are not known; it seems to need --preset stripe",
            ),
            (
                "email,nick",
                Layout::default(),
                "column 2 \"nick\" of the first line is not known",
            ),
            (
                "email,ada@x.io",
                Layout::default(),
                "column 2 of the first line is",
            ),
            (
                "email,name,email",
                Layout::default(),
                "columns 1 and 3 of the first line both hold email",
            ),
            (
                "email,first,name",
                with(&["first=first_name"]),
                "columns 2 and 3 of the first line both hold name",
            ),
        ] {
            let error = columns(names, &layout).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("ada"), "{error}");
        }
        let lenient = Layout {
            ignore_unknown: true,
            ..Layout::default()
        };
        assert_eq!(
            columns("email,nick", &lenient).unwrap(),
            [EMAIL, Target::Ignored]
        );
    }
}
