//! Which of the customers that were looked at concern each other: two that share an e-mail, or a row. They are looked at
//! once more, together, because what becomes of one depends on the others.

use std::collections::HashMap;

use anyhow::Context;
use entity::email::Email;
use uuid::Uuid;

use super::item::{Item, Together};
use super::look::{Subject, look};
use crate::downsync::inbox::read_again;
use crate::engine::Engine;

/// A customer that was looked at by itself.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stripe_id: Option<String>,
    pub(super) customer_id: Option<Uuid>,
    /// What it may share with others: e-mails in normal form, and ids of rows.
    pub(super) keys: Vec<String>,
    pub(super) item: Option<Item>,
    /// It is one of too many deletions, which a pass refuses.
    pub(super) is_refused: bool,
}

impl Found {
    pub(super) fn new(stripe_id: Option<&str>, customer_id: Option<Uuid>) -> Self {
        let mut found = Self {
            stripe_id: stripe_id.map(str::to_owned),
            customer_id,
            keys: Vec::new(),
            item: None,
            is_refused: false,
        };
        found.shares_row(customer_id);
        found
    }

    pub(super) fn shares_email(&mut self, email: Option<&str>) {
        if let Some(Ok(email)) = email.map(Email::parse) {
            self.keys.push(email.key().to_owned());
        }
    }

    pub(super) fn shares_row(&mut self, id: Option<Uuid>) {
        self.keys.extend(id.map(|id| id.to_string()));
    }
}

/// Looks at those together that concern each other; where that shows something else, it is their items.
///
/// # Errors
/// Something is away, or they change faster than they can be looked at.
pub(super) async fn look_together(engine: &Engine, found: &mut [Found]) -> anyhow::Result<()> {
    for (group, members) in groups(found).into_iter().enumerate() {
        let mut drifts = Vec::with_capacity(members.len());
        for place in &members {
            drifts.push(match &found[*place].stripe_id {
                Some(stripe_id) => read_again(engine, stripe_id).await?,
                None => None,
            });
        }
        let subjects = members.iter().zip(&drifts).map(|(place, drift)| Subject {
            drift: drift.as_ref(),
            customer_id: found[*place].customer_id,
        });
        let subjects: Vec<_> = subjects.collect();
        let items = look(engine, &subjects).await;
        let items = items.context("looking what becomes of customers that share an e-mail")?;
        let alone = members.iter().map(|place| &found[*place].item);
        if alone.eq(&items) {
            continue;
        }
        let group = group as u64;
        for (place, (member, item)) in members.into_iter().zip(items).enumerate() {
            let together = Some(Together { group, place });
            found[member].item = item.map(|item| Item { together, ..item });
        }
    }
    Ok(())
}

/// The groups of more than one, in the order of their first members.
fn groups(found: &[Found]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..found.len()).collect();
    let mut holders: HashMap<&str, usize> = HashMap::new();
    for (place, one) in found.iter().enumerate().filter(|(_, one)| !one.is_refused) {
        for key in &one.keys {
            let holder = *holders.entry(key).or_insert(place);
            let (one, other) = (root(&mut parent, holder), root(&mut parent, place));
            parent[one.max(other)] = one.min(other);
        }
    }
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    for place in 0..found.len() {
        members
            .entry(root(&mut parent, place))
            .or_default()
            .push(place);
    }
    let mut groups: Vec<_> = members.into_values().filter(|all| all.len() > 1).collect();
    groups.sort_unstable();
    groups
}

fn root(parent: &mut [usize], mut place: usize) -> usize {
    while parent[place] != place {
        parent[place] = parent[parent[place]];
        place = parent[place];
    }
    place
}

/// The items in sets that are done together, each in the order of its places. The sets are in the order of their first
/// items.
pub fn in_groups(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut sets: Vec<Vec<Item>> = Vec::new();
    for item in items {
        let group = item.together.as_ref().map(|together| together.group);
        match group.and_then(|group| places.get(&group).copied()) {
            Some(place) => sets[place].push(item),
            None => {
                places.extend(group.map(|group| (group, sets.len())));
                sets.push(vec![item]);
            }
        }
    }
    for set in &mut sets {
        set.sort_by(|a, b| a.together.cmp(&b.together));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_grouped_over_any_key_they_share() {
        let of = |keys: &[&str]| {
            let mut found = Found::new(None, None);
            found.keys = keys.iter().map(|key| (*key).to_owned()).collect();
            found
        };
        let mut all = [
            of(&["a", "b"]),
            of(&["x"]),
            of(&["c"]),
            of(&["b", "c"]),
            of(&["y"]),
            of(&["x"]),
        ];
        assert_eq!(groups(&all), [vec![0, 2, 3], vec![1, 5]]);
        all[5].is_refused = true;
        assert_eq!(groups(&all), [vec![0, 2, 3]]);
    }
}
