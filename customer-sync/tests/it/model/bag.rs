//! The broker between the services, as one that keeps what it has confirmed, and gives it out in any order
//! and more than once.

use entity::message::{DOWNSYNC, UPSYNC};
use platform::broker::{Delivery, Message};
use rand::RngExt;
use rand::rngs::StdRng;

/// What waits for a worker.
#[derive(Default)]
pub(super) struct Bag {
    changes: Vec<Message>,
    drifts: Vec<Message>,
    /// Nothing is confirmed and nothing arrives.
    pub(super) is_away: bool,
    /// It takes and confirms all.
    pub(super) is_well: bool,
}

impl Bag {
    /// What a publisher sent: taken and confirmed, or one of the two, or neither.
    pub(super) async fn take(&mut self, queue: &'static str, delivery: Delivery, rng: &mut StdRng) {
        let (is_kept, is_confirmed) = match rng.random_range(0..40) {
            _ if self.is_away => (false, false),
            _ if self.is_well => (true, true),
            0 => (false, false),
            1 | 2 => (true, false),
            _ => (true, true),
        };
        if is_kept {
            self.put(queue, delivery.message.clone());
        }
        if is_confirmed {
            delivery.ack().await.unwrap();
        }
    }

    pub(super) fn put(&mut self, queue: &'static str, message: Message) {
        self.of(queue).push(message);
    }

    /// Any message; now and then it stays as well.
    pub(super) fn draw(&mut self, queue: &'static str, rng: &mut StdRng) -> Option<Message> {
        if self.is_away {
            return None;
        }
        let messages = self.of(queue);
        if messages.is_empty() {
            return None;
        }
        let place = rng.random_range(0..messages.len());
        match rng.random_range(0..12) {
            0 => Some(messages[place].clone()),
            _ => Some(messages.remove(place)),
        }
    }

    /// Every message, oldest first.
    pub(super) fn all(&mut self, queue: &'static str) -> Vec<Message> {
        std::mem::take(self.of(queue))
    }

    /// A queue is purged, and nobody knows.
    pub(super) fn lose_all(&mut self) -> usize {
        let lost = self.changes.len() + self.drifts.len();
        self.changes.clear();
        self.drifts.clear();
        lost
    }

    fn of(&mut self, queue: &'static str) -> &mut Vec<Message> {
        match queue {
            UPSYNC => &mut self.changes,
            DOWNSYNC => &mut self.drifts,
            _ => unreachable!("there are two queues"),
        }
    }
}
