//! The three-way merge of one customer: what the two sides last agreed on, our row, Stripe's copy.
//!
//! Pure. Per field, against the base: only one side changed → its value; both the same → that one;
//! both different → the field's owner wins and the clash is reported, so that no value goes silently.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fields::{Field, Fields};

/// Who wins a field that both sides changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    #[default]
    Database,
    Stripe,
    /// Neither: each side keeps its value until a person decides.
    Manual,
}

/// The owner of each field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    email: Owner,
    name: Owner,
    phone: Owner,
    description: Owner,
}

impl Owners {
    /// One owner for every field.
    pub fn all(owner: Owner) -> Self {
        Self {
            email: owner,
            name: owner,
            phone: owner,
            description: owner,
        }
    }

    /// The same with another owner of one field.
    #[must_use]
    pub fn with(mut self, field: Field, owner: Owner) -> Self {
        self.set(field, owner);
        self
    }

    pub fn of(&self, field: Field) -> Owner {
        match field {
            Field::Email => self.email,
            Field::Name => self.name,
            Field::Phone => self.phone,
            Field::Description => self.description,
        }
    }

    fn set(&mut self, field: Field, owner: Owner) {
        match field {
            Field::Email => self.email = owner,
            Field::Name => self.name = owner,
            Field::Phone => self.phone = owner,
            Field::Description => self.description = owner,
        }
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "database" => Ok(Self::Database),
            "stripe" => Ok(Self::Stripe),
            "manual" => Ok(Self::Manual),
            _ => Err("must be database, stripe or manual".to_owned()),
        }
    }
}

/// `stripe`, or `name=stripe,phone=manual`: an owner for all fields, or for some with `database`
/// for the rest.
impl FromStr for Owners {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut owners = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part.split_once('=') {
                Some((field, owner)) => owners.set(field.trim().parse()?, owner.trim().parse()?),
                None => owners = Self::all(part.parse()?),
            }
        }
        Ok(owners)
    }
}

/// A field that both sides changed, to different values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    pub field: Field,
    pub base: Option<String>,
    pub database: Option<String>,
    pub stripe: Option<String>,
    pub winner: Owner,
}

/// What follows from one copy of Stripe's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What our row is to hold now.
    pub row: Fields,
    /// What both sides now agree on, as far as they do. Where `row` differs from it, ours is still
    /// to be pushed.
    pub base: Fields,
    pub clashes: Vec<Clash>,
}

/// Merges canonical values. Without a base (two customers that meet for the first time) pass the
/// empty one: a field that only one side has is taken, so it is a union, never a removal.
pub fn merge(base: &Fields, ours: &Fields, theirs: &Fields, owners: &Owners) -> Merged {
    let mut merged = Merged {
        row: ours.clone(),
        base: base.clone(),
        clashes: Vec::new(),
    };
    for field in Field::ALL {
        let (base, ours, theirs) = (base.get(field), ours.get(field), theirs.get(field));
        let owned = |value: Option<&str>| value.map(str::to_owned);
        if theirs == base {
            // Stripe changed nothing; if ours differs, it is on its way.
            continue;
        }
        if ours == theirs {
            merged.base.set(field, owned(theirs));
            continue;
        }
        if ours == base {
            merged.row.set(field, owned(theirs));
            merged.base.set(field, owned(theirs));
            continue;
        }
        let winner = owners.of(field);
        merged.clashes.push(Clash {
            field,
            base: owned(base),
            database: owned(ours),
            stripe: owned(theirs),
            winner,
        });
        match winner {
            // The base becomes what Stripe holds, so that our value counts as a change to push.
            Owner::Database => merged.base.set(field, owned(theirs)),
            Owner::Stripe => {
                merged.row.set(field, owned(theirs));
                merged.base.set(field, owned(theirs));
            }
            // The base stays: the field is still changed on both sides until it is decided.
            Owner::Manual => {}
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: Option<&str>) -> Fields {
        Fields {
            name: name.map(str::to_owned),
            ..Fields::default()
        }
    }

    fn merge_names(base: &str, ours: &str, theirs: &str, owner: Owner) -> Merged {
        let f = |text| named(crate::fields::canonical(text).as_deref());
        merge(&f(base), &f(ours), &f(theirs), &Owners::all(owner))
    }

    #[test]
    fn a_change_of_one_side_is_kept() {
        let taken = merge_names("a", "a", "b", Owner::Database);
        assert_eq!(
            (taken.row, taken.base),
            (named(Some("b")), named(Some("b")))
        );
        let ours = merge_names("a", "b", "a", Owner::Stripe);
        assert_eq!((ours.row, ours.base), (named(Some("b")), named(Some("a"))));
        let cleared = merge_names("a", "a", "", Owner::Database);
        assert_eq!((cleared.row, cleared.base), (named(None), named(None)));
    }

    #[test]
    fn the_same_change_on_both_sides_is_no_clash() {
        let merged = merge_names("a", "b", "b", Owner::Database);
        assert_eq!(merged.base, named(Some("b")));
        assert!(merged.clashes.is_empty());
    }

    #[test]
    fn the_owner_wins_and_the_loser_is_reported() {
        let database = merge_names("a", "b", "c", Owner::Database);
        assert_eq!(database.row, named(Some("b")));
        assert_eq!(database.base, named(Some("c")));
        let stripe = merge_names("a", "b", "c", Owner::Stripe);
        assert_eq!(stripe.row, named(Some("c")));
        assert_eq!(stripe.base, named(Some("c")));
        let manual = merge_names("a", "b", "c", Owner::Manual);
        assert_eq!(
            (manual.row, manual.base),
            (named(Some("b")), named(Some("a")))
        );
        for merged in [database.clashes, stripe.clashes, manual.clashes] {
            assert_eq!(merged.len(), 1);
            assert_eq!(merged[0].database.as_deref(), Some("b"));
            assert_eq!(merged[0].stripe.as_deref(), Some("c"));
        }
    }

    #[test]
    fn owners_are_read_from_their_text() {
        assert_eq!("".parse(), Ok(Owners::default()));
        assert_eq!("stripe".parse(), Ok(Owners::all(Owner::Stripe)));
        let some: Owners = "name=stripe, phone=manual".parse().unwrap();
        assert_eq!(some.of(Field::Name), Owner::Stripe);
        assert_eq!(some.of(Field::Phone), Owner::Manual);
        assert_eq!(some.of(Field::Email), Owner::Database);
        assert!("nobody".parse::<Owners>().is_err());
        assert!("shoe=stripe".parse::<Owners>().is_err());
    }

    fn any_fields() -> impl Strategy<Value = Fields> {
        let value = || proptest::option::of("[abc]");
        (value(), value(), value(), value()).prop_map(|(email, name, phone, description)| Fields {
            email,
            name,
            phone,
            description,
        })
    }

    fn any_owners() -> impl Strategy<Value = Owners> {
        let one = || {
            prop_oneof![
                Just(Owner::Database),
                Just(Owner::Stripe),
                Just(Owner::Manual)
            ]
        };
        (one(), one(), one(), one()).prop_map(|(email, name, phone, description)| Owners {
            email,
            name,
            phone,
            description,
        })
    }

    proptest! {
        /// After the push that follows (Stripe then holds our row), a further merge does nothing,
        /// and both sides are equal but for the fields that wait for a decision.
        #[test]
        fn merging_converges(base in any_fields(), ours in any_fields(), theirs in any_fields(), owners in any_owners()) {
            let first = merge(&base, &ours, &theirs, &owners);
            let mut pushed = theirs.clone();
            let held = |field| first.clashes.iter().any(|c| c.field == field && c.winner == Owner::Manual);
            for field in first.row.differing(&first.base) {
                if !held(field) {
                    pushed.set(field, first.row.get(field).map(str::to_owned));
                }
            }
            let second = merge(&first.base, &first.row, &pushed, &owners);
            prop_assert_eq!(&second.row, &first.row);
            for field in second.row.differing(&pushed) {
                prop_assert!(held(field));
            }
            for clash in &second.clashes {
                prop_assert!(held(clash.field));
            }
        }

        /// Every value of either side is in the row, equal to the base (unchanged), or reported.
        #[test]
        fn no_change_goes_silently(base in any_fields(), ours in any_fields(), theirs in any_fields(), owners in any_owners()) {
            let merged = merge(&base, &ours, &theirs, &owners);
            for field in Field::ALL {
                let reported = merged.clashes.iter().any(|clash| clash.field == field);
                for side in [&ours, &theirs] {
                    let kept = merged.row.get(field) == side.get(field);
                    let unchanged = side.get(field) == base.get(field);
                    prop_assert!(kept || unchanged || reported);
                }
            }
        }

        /// A copy that equals the base asks for nothing, whatever ours holds.
        #[test]
        fn an_unchanged_copy_changes_nothing(base in any_fields(), ours in any_fields(), owners in any_owners()) {
            let merged = merge(&base, &ours, &base, &owners);
            prop_assert_eq!(merged, Merged { row: ours, base, clashes: Vec::new() });
        }
    }
}
