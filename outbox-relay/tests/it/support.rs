//! Customers to write, a relay to step or to run, and a RabbitMQ queue of one test's own.

use std::time::Duration;

use entity::customer;
use entity::email::Email;
use entity::fields::Fields;
use entity::message::{CHANGES, EXCHANGE, UPSYNC};
use entity::outbox;
use entity::write::{self, NewCustomer};
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use outbox_relay::{Components, LEASE, Options, Relay, Term};
use platform::broker::{Broker, Consumer, Delivery, Topology};
use platform::clock::Clock;
use platform::database::{self, Database};
use platform::health::{ComponentReport, Health};
use platform::lease::Lease;
use platform::steps::Steps;
use platform::test_support::{rabbitmq_url, until};
use platform::wake::Wake;
use sea_orm::DatabaseTransaction;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longer than anything here takes, shorter than a person's patience.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const TOPOLOGY: Topology = Topology {
    exchange: EXCHANGE,
    queues: &[(UPSYNC, &CHANGES)],
};

pub(crate) fn in_process() -> Broker {
    Broker::in_process(&TOPOLOGY)
}

/// A relay, and what it says of itself.
pub(crate) fn relay(db: &Database, broker: &Broker) -> (Relay, Health) {
    let health = Health::new();
    let relay = Relay {
        db: db.clone(),
        broker: broker.clone(),
        clock: Clock::system(),
        wake: Wake::default(),
        health: Components::new(&health),
        options: Options {
            // No test is slow enough to lose it by accident.
            lease_ttl: Duration::from_secs(600),
            ..Options::default()
        },
        steps: Steps::default(),
    };
    (relay, health)
}

/// The same with batches of `window` rows.
pub(crate) fn narrow(db: &Database, broker: &Broker, window: u16) -> Relay {
    let (mut relay, _) = relay(db, broker);
    relay.options.window = window;
    relay
}

pub(crate) async fn term(relay: &Relay) -> Term {
    let lease = Lease::new(LEASE, relay.options.lease_ttl);
    Term::take(relay, &lease)
        .await
        .unwrap()
        .expect("nobody else has the lease")
}

/// Runs the relay until the token is cancelled.
pub(crate) fn start(relay: Relay) -> (JoinSet<anyhow::Result<()>>, CancellationToken) {
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    tasks.spawn(outbox_relay::run(relay, stop.clone()));
    (tasks, stop)
}

pub(crate) async fn ended(mut tasks: JoinSet<anyhow::Result<()>>) {
    let ended = tokio::time::timeout(LIMIT, tasks.join_next())
        .await
        .expect("it ends in time");
    ended.unwrap().unwrap().unwrap();
}

pub(crate) async fn create(db: &Database) -> customer::Model {
    let tx = database::begin(db).await.unwrap();
    let customer = create_in(&tx).await;
    tx.commit().await.unwrap();
    customer
}

pub(crate) async fn create_in(tx: &DatabaseTransaction) -> customer::Model {
    let id = Uuid::now_v7();
    let email = Email::parse(&format!("{id}@example.com")).unwrap();
    let fields = Fields {
        email: Some(email.as_given().to_owned()),
        ..Fields::default()
    };
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let now = database::now(tx, &Clock::system()).await.unwrap();
    write::create(
        tx,
        &NewCustomer {
            id,
            email,
            fields,
            external_id: None,
            stripe_id: None,
            now,
            traceparent,
        },
    )
    .await
    .unwrap()
}

/// The next rev of a customer.
pub(crate) async fn update(db: &Database, customer: &customer::Model) -> customer::Model {
    let tx = database::begin(db).await.unwrap();
    let updated = update_in(&tx, customer).await;
    tx.commit().await.unwrap();
    updated
}

pub(crate) async fn update_in(
    tx: &DatabaseTransaction,
    customer: &customer::Model,
) -> customer::Model {
    let row = customer::lock(tx, customer.id).await.unwrap().unwrap();
    let fields = Fields {
        name: Some(format!("Name {}", row.rev + 1)),
        ..row.fields()
    };
    let email = Email::parse(&row.email).unwrap();
    let now = database::now(tx, &Clock::system()).await.unwrap();
    write::update(tx, &row, (&email, &fields), now, None)
        .await
        .unwrap()
}

/// The last rev of a customer.
pub(crate) async fn delete(db: &Database, customer: &customer::Model) -> customer::Model {
    let tx = database::begin(db).await.unwrap();
    let row = customer::lock(&tx, customer.id).await.unwrap().unwrap();
    let now = database::now(&tx, &Clock::system()).await.unwrap();
    let deleted = write::delete(&tx, &row, now, None).await.unwrap();
    tx.commit().await.unwrap();
    deleted
}

/// The next rev of a customer, made in Stripe.
pub(crate) async fn take_from_stripe(db: &Database, customer: &customer::Model) -> customer::Model {
    let tx = database::begin(db).await.unwrap();
    let row = customer::lock(&tx, customer.id).await.unwrap().unwrap();
    let fields = Fields {
        phone: Some(format!("{}", row.rev + 1)),
        ..row.fields()
    };
    let email = Email::parse(&row.email).unwrap();
    let now = database::now(&tx, &Clock::system()).await.unwrap();
    let taken = write::take(&tx, &row, (&email, &fields), now, None).await;
    tx.commit().await.unwrap();
    taken.unwrap()
}

pub(crate) fn event(customer: &customer::Model) -> String {
    format!("{}/{}", customer.id, customer.rev)
}

/// The events that are still in the outbox.
pub(crate) async fn waiting(db: &Database) -> Vec<String> {
    let rows = outbox::pending(db, 0, 10_000).await.unwrap();
    rows.iter()
        .map(|row| format!("{}/{}", row.customer_id, row.rev))
        .collect()
}

pub(crate) async fn until_empty(db: &Database) {
    let what = "the outbox is empty";
    until(what, LIMIT, async || {
        waiting(db).await.is_empty().then_some(())
    })
    .await;
}

pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    let next = tokio::time::timeout(LIMIT, consumer.next()).await;
    next.expect("a message arrives in time").unwrap()
}

/// Takes and acks `count` messages, and returns their ids.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let delivery = next(consumer).await;
        ids.push(delivery.message.id.clone());
        delivery.ack().await.unwrap();
    }
    ids
}

pub(crate) fn says(health: &Health, name: &str) -> ComponentReport {
    let report = health.report(std::time::Instant::now());
    let component = report
        .components
        .into_iter()
        .find(|component| component.name == name);
    component.expect("the component is declared")
}

/// Waits until a component is well and at work, which a standby is not.
pub(crate) async fn until_ok(health: &Health, name: &str) {
    until(&format!("{name} is ok"), LIMIT, async || {
        let report = says(health, name);
        (report.status == "ok" && report.detail.is_none()).then_some(())
    })
    .await;
}

/// Waits until a component says something with `part` in it, and returns all of it.
pub(crate) async fn until_says(health: &Health, name: &str, part: &str) -> String {
    let what = format!("the component {name} says: {part}");
    until(&what, LIMIT, async || {
        let report = says(health, name);
        let text = format!("{}: {}", report.status, report.detail.unwrap_or_default());
        text.contains(part).then_some(text)
    })
    .await
}

/// An exchange and a queue that no other test uses. Nothing is routed to the queue until the test
/// says so.
pub(crate) struct Wiring {
    pub(crate) broker: Broker,
    pub(crate) queue: &'static str,
    exchange: &'static str,
    channel: Channel,
    _connection: Connection,
}

impl Wiring {
    pub(crate) async fn new() -> Self {
        let id = Uuid::new_v4().simple();
        let exchange: &'static str = format!("test.{id}").leak();
        let queue: &'static str = format!("test.{id}.events").leak();
        let topology = Topology {
            exchange,
            queues: vec![(queue, &[][..])].leak(),
        };
        let broker = Broker::rabbitmq(rabbitmq_url(), topology, "outbox-relay-test");
        // Declares both.
        drop(broker.publisher().await.unwrap());
        let url = rabbitmq_url();
        let connection = Connection::connect(url.expose(), ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self {
            broker,
            queue,
            exchange,
            channel,
            _connection: connection,
        }
    }

    /// Routes the changes of these kinds to the queue.
    pub(crate) async fn route(&self, keys: &[&str]) {
        for key in keys {
            let options = QueueBindOptions::default();
            let (queue, exchange) = (self.queue.into(), self.internal());
            let none = FieldTable::default();
            self.channel
                .queue_bind(queue, exchange, (*key).into(), options, none)
                .await
                .unwrap();
        }
    }

    pub(crate) async fn unroute(&self, keys: &[&str]) {
        for key in keys {
            let (queue, exchange) = (self.queue.into(), self.internal());
            let none = FieldTable::default();
            self.channel
                .queue_unbind(queue, exchange, (*key).into(), none)
                .await
                .unwrap();
        }
    }

    fn internal(&self) -> lapin::types::ShortString {
        format!("{}.internal", self.exchange).into()
    }

    pub(crate) async fn consumer(&self) -> Consumer {
        self.broker.consumer(self.queue, 100).await.unwrap()
    }

    /// How many messages are ready in the queue.
    pub(crate) async fn ready(&self) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declaring =
            self.channel
                .queue_declare(self.queue.into(), passive, FieldTable::default());
        declaring.await.unwrap().message_count()
    }
}
