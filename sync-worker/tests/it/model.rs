//! Random edits on both sides, random faults and crashes, a random schedule; then the network heals. What
//! must hold then holds for every seed: both sides agree, no edit went silently, nothing was made twice.

mod check;
mod people;
mod weather;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use entity::fields::Field;
use entity::message::Drift;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sync_worker::upsync::begin::Push;
use sync_worker::upsync::send::Sent;
use uuid::Uuid;

use crate::harness::{Setup, World};

const STEPS: usize = 80;
const SEEDS: std::ops::Range<u64> = 0..12;

/// What one side gave a field, and when: the number of the step.
type Edits<Id> = HashMap<(Id, Field), Vec<(usize, String)>>;

struct Model {
    world: World,
    rng: StdRng,
    step: usize,
    /// Of the rows, and of Stripe's customers.
    ours: Edits<Uuid>,
    theirs: Edits<String>,
    rows: Vec<Uuid>,
    customers: Vec<String>,
    deleted_here: HashSet<Uuid>,
    deleted_there: HashSet<String>,
    /// Messages on their way to the worker.
    messages: Vec<Uuid>,
    /// Copies that were read and not applied yet.
    copies: Vec<Drift>,
    /// Pushes whose process is slow, or dead.
    pushes: Vec<(Box<Push>, Option<Sent>)>,
    /// Requests that the network delivers later than anybody waits for.
    #[expect(
        clippy::vec_box,
        reason = "a push is handed on in the box that it comes in"
    )]
    delayed: Vec<Box<Push>>,
    log: Vec<String>,
}

impl Model {
    async fn new(seed: u64) -> Self {
        let mut setup = Setup::default();
        setup.sandbox.seed = Some(seed);
        let owners = ["database", "stripe", "manual", "name=stripe"];
        let owners = owners[usize::try_from(seed).unwrap() % owners.len()];
        setup.policy.owners = owners.parse().unwrap();
        let world = World::with(setup).await;
        // A list with nothing in it would be refused.
        world.stripe_creates(&[("email", "nobody@x.io")]);
        Self {
            world,
            rng: StdRng::seed_from_u64(seed),
            step: 0,
            ours: HashMap::new(),
            theirs: HashMap::new(),
            rows: Vec::new(),
            customers: Vec::new(),
            deleted_here: HashSet::new(),
            deleted_there: HashSet::new(),
            messages: Vec::new(),
            copies: Vec::new(),
            pushes: Vec::new(),
            delayed: Vec::new(),
            log: Vec::new(),
        }
    }

    async fn run(&mut self) {
        for step in 1..=STEPS {
            self.step = step;
            // Longer than a push may be blind for what was edited in Stripe.
            self.world.later(Duration::from_secs(11));
            match self.rng.random_range(0..118) {
                0..5 => self.create_here().await,
                5..25 => self.edit_here().await,
                25..27 => self.delete_here().await,
                27..30 => self.create_there(),
                30..46 => self.edit_there(),
                46..47 => self.delete_there(),
                47..65 => self.deliver().await,
                65..74 => self.due().await,
                74..81 => self.events().await,
                81..83 => self.pass().await,
                83..86 => self.recheck().await,
                86..90 => self.read().await,
                90..94 => self.apply().await,
                94..99 => self.begin().await,
                99..103 => self.go_on().await,
                103..107 => self.delay().await,
                107..108 => self.sleep(),
                _ => self.fault(),
            }
        }
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{}: {what}", self.step));
    }

    fn any<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        match of.len() {
            0 => None,
            len => Some(of[self.rng.random_range(0..len)].clone()),
        }
    }
}

#[tokio::test]
async fn whatever_happens_both_sides_agree_in_the_end_and_no_edit_goes_silently() {
    for seed in SEEDS {
        let mut model = Box::pin(Model::new(seed)).await;
        Box::pin(model.run()).await;
        Box::pin(model.heal()).await;
        if let Err(fault) = Box::pin(model.check()).await {
            panic!("seed {seed}: {fault}\n{}", model.log.join("\n"));
        }
    }
}
