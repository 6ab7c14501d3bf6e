//! Form encoding with brackets, as Stripe's SDKs write it: `a=1`, `metadata[k]=v`, `created[gte]=1`,
//! `expand[]=x`, `expand[0]=x`. What nobody took from a form is an unknown parameter.

use crate::wire::error::Error;

/// Parameters of a request, in the order they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    /// The bracketed name that this form is the inside of; empty at the top.
    within: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    path: Vec<String>,
    value: String,
}

/// A parameter that holds others, such as `metadata`.
pub(crate) enum Hash {
    /// `metadata=`, which unsets the whole.
    Unset,
    Fields(Form),
}

impl Form {
    pub(crate) fn parse(encoded: &[u8]) -> Self {
        let fields = form_urlencoded::parse(encoded)
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, value)| Field {
                path: split(&name),
                value: value.into_owned(),
            })
            .collect();
        Self {
            within: String::new(),
            fields,
        }
    }

    pub(crate) fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let fields = pairs
            .into_iter()
            .map(|(name, value)| Field {
                path: split(name),
                value: value.to_owned(),
            })
            .collect();
        Self {
            within: String::new(),
            fields,
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.fields.extend(other.fields);
    }

    /// The same for every spelling of the same parameters in whatever order; an idempotency key is bound to it.
    pub(crate) fn canonical(&self) -> String {
        let mut pairs: Vec<String> = self
            .fields
            .iter()
            .map(|field| {
                let name: String =
                    form_urlencoded::byte_serialize(field.path.join("\u{0}").as_bytes()).collect();
                let value: String =
                    form_urlencoded::byte_serialize(field.value.as_bytes()).collect();
                format!("{name}={value}")
            })
            .collect();
        pairs.sort_unstable();
        pairs.join("&")
    }

    /// Takes one plain value; the last wins when it is given more than once.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut value = None;
        for field in self.remove(name) {
            if field.path.len() > 1 {
                let param = self.full_name(name);
                return Err(Error::bad(
                    &param,
                    format!("Invalid string: {{{}}}", field.path[1]),
                ));
            }
            value = Some(field.value);
        }
        Ok(value)
    }

    /// Takes a hash, or the empty value that unsets it.
    pub(crate) fn take_hash(&mut self, name: &str) -> Result<Option<Hash>, Error> {
        let within = self.full_name(name);
        let taken = self.remove(name);
        if taken.is_empty() {
            return Ok(None);
        }
        let mut fields = Vec::with_capacity(taken.len());
        let mut unset = false;
        for mut field in taken {
            if field.path.len() > 1 {
                field.path.remove(0);
                fields.push(field);
            } else if field.value.is_empty() {
                unset = true;
            } else {
                return Err(Error::bad(&within, "Invalid object"));
            }
        }
        Ok(Some(if unset && fields.is_empty() {
            Hash::Unset
        } else {
            Hash::Fields(Self { within, fields })
        }))
    }

    /// Takes a list of plain values; an empty value alone is the empty list.
    pub(crate) fn take_list(&mut self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let taken = self.remove(name);
        if taken.is_empty() {
            return Ok(None);
        }
        if taken
            .iter()
            .any(|field| field.path.len() == 1 && !field.value.is_empty())
        {
            return Err(Error::bad(&self.full_name(name), "Invalid array"));
        }
        Ok(Some(
            taken
                .into_iter()
                .filter(|field| field.path.len() > 1)
                .map(|field| field.value)
                .collect(),
        ))
    }

    pub(crate) fn take_integer(&mut self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        let value = text.parse().map_err(|_| {
            Error::bad(&self.full_name(name), format!("Invalid integer: {text}"))
                .code("parameter_invalid_integer")
        })?;
        Ok(Some(value))
    }

    /// Every remaining name and value of a flat hash, such as metadata.
    pub(crate) fn into_flat(self) -> Result<Vec<(String, String)>, Error> {
        let within = self.within;
        self.fields
            .into_iter()
            .map(
                |mut field| match (field.path.pop(), field.path.is_empty()) {
                    (Some(name), true) => Ok((name, field.value)),
                    _ => Err(Error::bad(
                        &within,
                        "Metadata values must be strings, not hashes or arrays",
                    )),
                },
            )
            .collect()
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let mut unknown: Vec<String> = self
            .fields
            .iter()
            .map(|field| self.full_name(&field.path[0]))
            .collect();
        unknown.dedup();
        let Some(first) = unknown.first() else {
            return Ok(());
        };
        let plural = if unknown.len() > 1 { "s" } else { "" };
        let message = format!("Received unknown parameter{plural}: {}", unknown.join(", "));
        Err(Error::bad(first, message).code("parameter_unknown"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.path[0] == name)
    }

    /// How many values nobody took yet.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    pub(crate) fn full_name(&self, name: &str) -> String {
        if self.within.is_empty() {
            name.to_owned()
        } else {
            format!("{}[{name}]", self.within)
        }
    }

    fn remove(&mut self, name: &str) -> Vec<Field> {
        self.fields
            .extract_if(.., |field| field.path[0] == name)
            .collect()
    }
}

/// `a[b][c]` as `a`, `b`, `c`. Brackets that do not close belong to the name.
fn split(name: &str) -> Vec<String> {
    let Some((first, rest)) = name.split_once('[').filter(|(first, _)| !first.is_empty()) else {
        return vec![name.to_owned()];
    };
    let Some(inner) = rest.strip_suffix(']') else {
        return vec![name.to_owned()];
    };
    std::iter::once(first)
        .chain(inner.split("]["))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_nest_and_plain_values_stay_plain() {
        let mut form = Form::parse(
            b"email=a%40b.c&address[line1]=Main+St&shipping[address][city]=X&expand[]=y",
        );
        assert_eq!(form.take("email").unwrap().as_deref(), Some("a@b.c"));
        let Some(Hash::Fields(mut address)) = form.take_hash("address").unwrap() else {
            panic!("no address")
        };
        assert_eq!(address.take("line1").unwrap().as_deref(), Some("Main St"));
        let Some(Hash::Fields(mut shipping)) = form.take_hash("shipping").unwrap() else {
            panic!("no shipping")
        };
        let Some(Hash::Fields(inner)) = shipping.take_hash("address").unwrap() else {
            panic!("no inner")
        };
        let refused = inner.finish().unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("shipping[address][city]"));
        assert_eq!(
            form.take_list("expand").unwrap(),
            Some(vec!["y".to_owned()])
        );
        form.finish().unwrap();
    }

    #[test]
    fn an_empty_hash_unsets_and_an_empty_value_inside_is_kept() {
        let mut form = Form::parse(b"metadata=");
        assert!(matches!(
            form.take_hash("metadata").unwrap(),
            Some(Hash::Unset)
        ));
        let mut form = Form::parse(b"metadata[a]=&metadata[b]=2");
        let Some(Hash::Fields(metadata)) = form.take_hash("metadata").unwrap() else {
            panic!("no metadata")
        };
        let pairs = metadata.into_flat().unwrap();
        assert_eq!(
            pairs,
            [
                ("a".to_owned(), String::new()),
                ("b".to_owned(), "2".to_owned())
            ]
        );
    }

    #[test]
    fn the_order_of_parameters_does_not_matter_to_a_key_but_their_values_do() {
        let one = Form::parse(b"name=A&email=x").canonical();
        assert_eq!(one, Form::parse(b"email=x&name=%41").canonical());
        assert_ne!(one, Form::parse(b"email=x&name=B").canonical());
    }
}
