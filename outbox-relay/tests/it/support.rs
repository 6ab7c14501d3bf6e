//! Customers to write, a relay to step or to run, and a RabbitMQ queue of one test's own.

use std::time::Duration;

use entity::customer;
use entity::email::Email;
use entity::fields::Fields;
use entity::message::{EXCHANGE, UPSYNC};
use entity::outbox;
use entity::write::{self, NewCustomer};
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
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
    queues: &[UPSYNC],
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
/// says so, because the relay publishes by a key that is not this queue's name.
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
            queues: vec![queue].leak(),
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

    pub(crate) async fn route_all(&self) {
        let options = QueueBindOptions::default();
        let (queue, exchange) = (self.queue.into(), self.exchange.into());
        let none = FieldTable::default();
        self.channel
            .queue_bind(queue, exchange, UPSYNC.into(), options, none)
            .await
            .unwrap();
    }

    pub(crate) async fn route_nothing(&self) {
        let (queue, exchange) = (self.queue.into(), self.exchange.into());
        let none = FieldTable::default();
        self.channel
            .queue_unbind(queue, exchange, UPSYNC.into(), none)
            .await
            .unwrap();
    }

    /// Routes the events of these customers only, by a second exchange that looks at the header.
    pub(crate) async fn route_only(&self, customers: &[&customer::Model]) {
        let by_header = format!("{}.by-header", self.exchange);
        let declaring = self.channel.exchange_declare(
            by_header.as_str().into(),
            ExchangeKind::Headers,
            ExchangeDeclareOptions {
                auto_delete: true,
                ..ExchangeDeclareOptions::default()
            },
            FieldTable::default(),
        );
        declaring.await.unwrap();
        for customer in customers {
            let mut wanted = FieldTable::default();
            let subject = AMQPValue::LongString(customer.id.to_string().into());
            wanted.insert("cloudEvents:subject".into(), subject);
            let (queue, options) = (self.queue.into(), QueueBindOptions::default());
            let exchange = by_header.as_str().into();
            self.channel
                .queue_bind(queue, exchange, "".into(), options, wanted)
                .await
                .unwrap();
        }
        let binding = self.channel.exchange_bind(
            by_header.as_str().into(),
            self.exchange.into(),
            UPSYNC.into(),
            ExchangeBindOptions::default(),
            FieldTable::default(),
        );
        binding.await.unwrap();
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
