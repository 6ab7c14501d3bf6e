//! Metadata as requests change it: merged key by key, a key unset by an empty value, all of it by `metadata=`.

use crate::wire::error::Error;
use crate::wire::form::{Form, Hash};

const KEYS_MAX: usize = 50;
const KEY_MAX: usize = 40;
const VALUE_MAX: usize = 500;

type Pairs = Vec<(Box<str>, Box<str>)>;

#[derive(Clone, Debug)]
pub(crate) enum Metadata {
    UnsetAll,
    Merge(Pairs),
}

impl Metadata {
    pub(crate) fn take(form: &mut Form) -> Result<Option<Self>, Error> {
        let fields = match form.take_hash("metadata")? {
            None => return Ok(None),
            Some(Hash::Unset) => return Ok(Some(Self::UnsetAll)),
            Some(Hash::Fields(fields)) => fields.into_flat()?,
        };
        for (key, value) in &fields {
            check(key, value)?;
        }
        let pairs = fields
            .into_iter()
            .map(|(key, value)| (key.into_boxed_str(), value.into_boxed_str()));
        Ok(Some(Self::Merge(pairs.collect())))
    }

    /// Fails when more keys than Stripe allows would be there.
    pub(crate) fn apply(self, metadata: &mut Pairs) -> Result<(), Error> {
        let Self::Merge(pairs) = self else {
            *metadata = Vec::new();
            return Ok(());
        };
        for (key, value) in pairs {
            let place = metadata.iter().position(|(known, _)| *known == key);
            match (place, value.is_empty()) {
                (Some(place), true) => drop(metadata.remove(place)),
                (Some(place), false) => metadata[place].1 = value,
                (None, true) => {}
                (None, false) => metadata.push((key, value)),
            }
        }
        metadata.shrink_to_fit();
        if metadata.len() > KEYS_MAX {
            return Err(Error::bad(
                "metadata",
                format!("Metadata can have up to {KEYS_MAX} keys."),
            ));
        }
        Ok(())
    }
}

fn check(key: &str, value: &str) -> Result<(), Error> {
    let length = key.chars().count();
    if length > KEY_MAX {
        let message = format!(
            "Metadata keys can have up to {KEY_MAX} characters, but you passed in a key that is {length} characters. Invalid key: {key}"
        );
        return Err(Error::bad("metadata", message));
    }
    if key.is_empty() || key.contains(['[', ']']) {
        let message = "Metadata keys can't be empty or contain square brackets ([ and ]).";
        return Err(Error::bad("metadata", message));
    }
    let length = value.chars().count();
    if length > VALUE_MAX {
        let message = format!(
            "Metadata values can have up to {VALUE_MAX} characters, but you passed in a value that is {length} characters. Invalid value: {value}"
        );
        return Err(Error::bad(&format!("metadata[{key}]"), message));
    }
    Ok(())
}
