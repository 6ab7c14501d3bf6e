//! The customers that the load writes about: what is believed of each, which may be out of date.

use std::collections::HashMap;
use std::sync::Mutex;

use rand::RngExt;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::history::{State, lock};

/// A customer as its latest answer showed it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: Uuid,
    pub(crate) rev: i64,
    pub(crate) email: String,
}

#[derive(Default)]
pub(crate) struct Subjects(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    living: Vec<Subject>,
    places: HashMap<Uuid, usize>,
    stripe_ids: HashMap<Uuid, String>,
}

/// The first so many are written about far more often than the others.
const HOT: usize = 40;
const HOT_SHARE: f64 = 0.3;

impl Subjects {
    pub(crate) fn pick(&self, random: &mut SmallRng) -> Option<Subject> {
        let inner = lock(&self.0);
        let living = inner.living.len();
        let among = if random.random_bool(HOT_SHARE) {
            living.min(HOT)
        } else {
            living
        };
        if among == 0 {
            return None;
        }
        inner.living.get(random.random_range(0..among)).cloned()
    }

    /// One that is known in Stripe, with its id there.
    pub(crate) fn pick_in_stripe(&self, random: &mut SmallRng) -> Option<(Subject, String)> {
        let subject = self.pick(random)?;
        let stripe_id = lock(&self.0).stripe_ids.get(&subject.id).cloned()?;
        Some((subject, stripe_id))
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).living.len()
    }

    /// Takes over what an answer showed.
    pub(crate) fn saw(&self, state: &State) {
        let mut inner = lock(&self.0);
        if state.deleted {
            inner.forget(state.id);
            return;
        }
        let subject = Subject {
            id: state.id,
            rev: state.rev,
            email: state.fields.email.clone().unwrap_or_default(),
        };
        match inner.places.get(&state.id).copied() {
            Some(place) => {
                let known = &mut inner.living[place];
                if known.rev < subject.rev {
                    *known = subject;
                }
            }
            None => {
                let place = inner.living.len();
                inner.places.insert(state.id, place);
                inner.living.push(subject);
            }
        }
    }

    pub(crate) fn forget(&self, id: Uuid) {
        lock(&self.0).forget(id);
    }

    /// Removes all of them.
    pub(crate) fn clear(&self) {
        *lock(&self.0) = Inner::default();
    }

    pub(crate) fn is_in_stripe(&self, id: Uuid, stripe_id: String) {
        lock(&self.0).stripe_ids.insert(id, stripe_id);
    }
}

impl Inner {
    fn forget(&mut self, id: Uuid) {
        let Some(place) = self.places.remove(&id) else {
            return;
        };
        self.living.swap_remove(place);
        if let Some(moved) = self.living.get(place) {
            self.places.insert(moved.id, place);
        }
        self.stripe_ids.remove(&id);
    }
}
