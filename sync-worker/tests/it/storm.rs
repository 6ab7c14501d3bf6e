//! Everything at once, on both databases: people on both sides, pushes, scans and passes, with nothing but
//! locks and fences between them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use entity::fields::Field;
use platform::test_support::{TestDatabase, each_database, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sync_worker::downsync::publish::Drifts;
use sync_worker::downsync::{events, inbox, pass, recheck};
use sync_worker::upsync::{due, push};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Setup, World};

const CUSTOMERS: usize = 4;
const EDITS: usize = 60;

/// The last edit of each side: when it began, and what it was.
#[derive(Default)]
struct Edits {
    ours: HashMap<(Uuid, Field), (Instant, String)>,
    theirs: HashMap<(Uuid, Field), (Instant, String)>,
}

struct Storm {
    world: World,
    customers: Vec<(Uuid, String)>,
    edits: Mutex<Edits>,
    /// People have gone home.
    calm: CancellationToken,
}

impl Storm {
    async fn new(database: TestDatabase) -> Self {
        let world = World::on(database, Setup::in_real_time()).await;
        let mut customers = Vec::new();
        for place in 0..CUSTOMERS {
            let row = world.create(&[("email", &format!("{place}@x.io"))]).await;
            world.push(row.id).await;
            customers.push((row.id, world.stripe_id(row.id).await));
        }
        world.forget_requests();
        Self {
            world,
            customers,
            edits: Mutex::default(),
            calm: CancellationToken::new(),
        }
    }

    async fn people(&self) {
        let mut rng = StdRng::seed_from_u64(1);
        for edit in 0..EDITS {
            let (id, stripe_id) = &self.customers[rng.random_range(0..CUSTOMERS)];
            let field = [Field::Name, Field::Phone][rng.random_range(0..2)];
            let value = format!("v{edit}");
            let named = [(field.as_str(), value.as_str())];
            let began = Instant::now();
            if rng.random_bool(0.5) {
                self.world.update(*id, &named).await;
                let mut edits = self.edits.lock().await;
                edits.ours.insert((*id, field), (began, value));
            } else {
                self.world.stripe_edits(stripe_id, &named);
                let mut edits = self.edits.lock().await;
                edits.theirs.insert((*id, field), (began, value));
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..15))).await;
        }
        self.calm.cancel();
    }

    /// A worker's upsync: a message of anybody, and what is due.
    async fn upsync(&self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        while !self.calm.is_cancelled() {
            let (id, _) = self.customers[rng.random_range(0..CUSTOMERS)];
            push(&self.world.engine, id).await.unwrap();
            due::run_once(&self.world.engine).await.unwrap();
        }
    }

    async fn downsync(&self) {
        let engine = &self.world.engine;
        let mut drifts = Drifts::new(self.world.broker.clone());
        while !self.calm.is_cancelled() {
            events::poll(engine).await.unwrap();
            inbox::run_once(engine, &mut drifts).await.unwrap();
            recheck::run_once(engine).await.unwrap();
        }
    }

    async fn passes(&self) {
        let stop = CancellationToken::new();
        let mut drifts = Drifts::new(self.world.broker.clone());
        while !self.calm.is_cancelled() {
            let ended = pass::run_once(&self.world.engine, &mut drifts, &stop).await;
            ended.unwrap();
        }
    }

    /// What the loops do in the end.
    async fn is_settled(&self) -> bool {
        for (id, _) in &self.customers {
            self.world.push(*id).await;
        }
        self.world.events().await;
        self.world.due().await;
        recheck::run_once(&self.world.engine).await.unwrap();
        let mut is_settled = true;
        for (id, _) in &self.customers {
            let (row, link) = (self.world.row(*id).await, self.world.link(*id).await);
            is_settled &= link.synced_rev == row.rev && link.recheck_at.is_none();
        }
        is_settled
    }

    /// The last edit of a field here is what the field holds, unless somebody edited it in Stripe since.
    async fn no_edit_was_undone(&self) {
        let edits = self.edits.lock().await;
        for ((id, field), (at, ours)) in &edits.ours {
            let fields = self.world.row(*id).await.fields();
            let value = fields.get(*field);
            let theirs = edits.theirs.get(&(*id, *field));
            let is_theirs =
                theirs.is_some_and(|(then, theirs)| then > at && value == Some(theirs.as_str()));
            assert!(
                is_theirs || value == Some(ours),
                "{field}: {value:?}, {ours}, {theirs:?}"
            );
        }
    }
}

#[tokio::test]
async fn everything_at_once_ends_in_step_and_undoes_no_edit() {
    let test = async |database| {
        let storm = Box::pin(Storm::new(database)).await;
        tokio::join!(
            storm.people(),
            Box::pin(storm.upsync(2)),
            Box::pin(storm.upsync(3)),
            Box::pin(storm.downsync()),
            Box::pin(storm.passes()),
        );
        until("all is settled", Duration::from_secs(30), async || {
            Box::pin(storm.is_settled()).await.then_some(())
        })
        .await;
        storm.world.pass().await;
        for (id, _) in &storm.customers {
            storm.world.assert_in_step(*id).await;
            assert_eq!(storm.world.made_for(*id), 1);
        }
        Box::pin(storm.no_edit_was_undone()).await;
        assert_eq!(storm.world.rows().await.len(), CUSTOMERS);
        assert!(storm.world.unmatched().await.is_empty());
    };
    Box::pin(each_database(test)).await;
}
