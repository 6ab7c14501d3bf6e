//! JSON whose members keep their order, so that the spec reads as it was written.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Node>),
    Object(IndexMap<String, Node>),
}

impl Node {
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).expect("poem-openapi writes JSON")
    }

    /// Of a JSON value that was written here.
    pub(super) fn of(value: serde_json::Value) -> Self {
        serde_json::from_value(value).expect("JSON is JSON")
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers are JSON")
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        match self {
            Self::Object(members) => members.get_mut(name),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is(&self, name: &str, expected: &str) -> bool {
        self.get(name).and_then(Self::text) == Some(expected)
    }

    /// Sets a member of an object.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Self>) {
        if let Self::Object(members) = self {
            members.insert(name.to_owned(), value.into());
        }
    }

    /// Gives the members of an object other names.
    pub(super) fn rename(&mut self, name: impl Fn(&str) -> String) {
        if let Self::Object(members) = self {
            *members = std::mem::take(members)
                .into_iter()
                .map(|(known, value)| (name(&known), value))
                .collect();
        }
    }

    /// Removes a member of an object.
    pub(super) fn remove(&mut self, name: &str) {
        if let Self::Object(members) = self {
            members.shift_remove(name);
        }
    }

    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = (&String, &mut Self)> {
        let members = match self {
            Self::Object(members) => Some(members.iter_mut()),
            _ => None,
        };
        members.into_iter().flatten()
    }

    pub(super) fn items_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let items = match self {
            Self::Array(items) => Some(items.iter_mut()),
            _ => None,
        };
        items.into_iter().flatten()
    }

    /// Calls `change` on this and on everything in it, the outer first.
    pub(super) fn walk(&mut self, change: &mut impl FnMut(&mut Self)) {
        change(self);
        match self {
            Self::Object(members) => members.values_mut().for_each(|node| node.walk(change)),
            Self::Array(items) => items.iter_mut().for_each(|node| node.walk(change)),
            _ => {}
        }
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<Node>> for Node {
    fn from(items: Vec<Node>) -> Self {
        Self::Array(items)
    }
}
