//! Heartbeats: any other process can tell from the database that a relay is alive, and why it does not go on.

use platform::broker::Broker;
use platform::config::Secret;
use platform::database::now;
use platform::heartbeat::{Model, Role, of_role};
use platform::test_support::{TestDatabase, each_database, until};

use crate::support::{LIMIT, TOPOLOGY, ended, in_process, relay, start};

async fn until_recorded(database: &TestDatabase, what: &str, is_so: impl Fn(&Model) -> bool) {
    until(what, LIMIT, async || {
        let relays = of_role(&database.connection, Role::Relay).await.unwrap();
        relays.first().filter(|relay| is_so(relay)).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn relay_is_alive_by_its_heartbeats_until_it_stops() {
    each_database(async |database| {
        let (relay, _health) = relay(&database.connection, &in_process());
        let clock = relay.clock.clone();
        let (tasks, stop) = start(relay);
        until_recorded(&database, "it is alive", |relay| {
            relay.problems().is_empty() && relay.stopped_at.is_none()
        })
        .await;
        stop.cancel();
        ended(tasks).await;
        let time = now(&database.connection, &clock).await.unwrap();
        until_recorded(&database, "it has stopped", |relay| !relay.is_alive(time)).await;
    })
    .await;
}

#[tokio::test]
async fn relay_without_broker_records_that() {
    each_database(async |database| {
        // A port on which nothing listens.
        let url = Secret::new("amqp://guest:guest@127.0.0.1:1");
        let broker = Broker::rabbitmq(url, TOPOLOGY, "outbox-relay-test");
        let (relay, _health) = relay(&database.connection, &broker);
        let (tasks, stop) = start(relay);
        until_recorded(&database, "the broker is reported", |relay| {
            let mut problems = relay.problems().iter();
            problems.any(|problem| {
                problem.component == "relay broker" && problem.detail.contains("RabbitMQ is away")
            })
        })
        .await;
        stop.cancel();
        ended(tasks).await;
    })
    .await;
}
