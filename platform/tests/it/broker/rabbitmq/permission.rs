//! A user who may write and read, and not configure.

use lapin::options::QueueDeleteOptions;
use platform::test_support;

use super::*;

/// A server with such a user, and one who may do everything.
struct Users {
    server: test_support::RabbitMq,
    topology: Topology,
    owner: Broker,
    limited: Broker,
}

impl Users {
    async fn new() -> Self {
        let (server, topology) = (test_support::RabbitMq::own().await, topology());
        let name = topology.exchange;
        server
            .shell(&format!(
                r"rabbitmqctl add_user limited secret
                rabbitmqctl set_permissions limited '^$' \
                    '^{name}(\.internal|\.things(\.dead)?)?$' '^{name}\.(internal|dead|things)$'"
            ))
            .await;
        let url = server.url_of("limited", "secret", "%2f");
        let broker = |url| Broker::rabbitmq(url, topology.clone(), "platform tests");
        Self {
            owner: broker(server.url.clone()),
            limited: broker(url),
            server,
            topology,
        }
    }

    fn queue(&self) -> &'static str {
        self.topology.queues[0].0
    }

    /// Why the limited user gets no publisher: one line with the remedy.
    async fn refusal(&self) -> String {
        let error = self.limited.publisher().await.err().unwrap();
        assert!(matches!(error, Error::Topology { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("`outbox-relay declare`"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        text
    }
}

#[tokio::test]
async fn user_without_configure_permission_uses_declared_queues() {
    let users = Users::new().await;
    users.owner.declare().await.unwrap();
    users.limited.declare().await.unwrap();
    let queue = users.queue();
    let mut publisher = users.limited.publisher().await.unwrap();
    for (route, id) in [
        (Route::Event(EVENT), 1),
        (Route::Queue(queue), 2),
        (Route::ForeignEvent(EVENT), 3),
    ] {
        let outcomes = publisher.publish(route, vec![message(id)]).await;
        assert_eq!(outcomes, [Outcome::Confirmed], "{id}");
    }
    until(
        "two are in the queue",
        Duration::from_secs(10),
        async || (users.limited.depth(queue).await.unwrap() == 2).then_some(()),
    )
    .await;
    let mut consumer = users.limited.consumer(queue, 10).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
    let second = next(&mut consumer).await;
    second.dead_letter("a test wants one").await.unwrap();
    let dead = format!("{queue}.dead").leak();
    let mut dead = users.owner.consumer(dead, 1).await.unwrap();
    assert_eq!(next(&mut dead).await.message, message(2));
}

#[tokio::test]
async fn user_without_configure_permission_restores_bindings() {
    let users = Users::new().await;
    users.owner.declare().await.unwrap();
    let (_connection, channel) = raw(&users.server.url).await;
    let internal = format!("{}.internal", users.topology.exchange);
    let (queue, none) = (users.queue().into(), FieldTable::default());
    let unbound = channel.queue_unbind(queue, internal.into(), EVENT.into(), none);
    unbound.await.unwrap();
    let mut publisher = users.limited.publisher().await.unwrap();
    let outcomes = publisher
        .publish(Route::Event(EVENT), vec![message(1)])
        .await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
}

#[tokio::test]
async fn missing_queue_is_named_and_declared_once_permitted() {
    let users = Users::new().await;
    let (name, queue) = (users.topology.exchange, users.queue());
    let text = users.refusal().await;
    let expected = format!("the exchange {name} does not exist");
    assert!(text.starts_with(&expected), "{text}");

    users.owner.declare().await.unwrap();
    let (_connection, channel) = raw(&users.server.url).await;
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let text = users.refusal().await;
    let expected = format!("the queue {queue} does not exist");
    assert!(text.starts_with(&expected), "{text}");

    users
        .server
        .shell("rabbitmqctl set_permissions limited '.*' '.*' '.*'")
        .await;
    let mut publisher = users.limited.publisher().await.unwrap();
    let outcomes = publisher.publish(queue, vec![message(1)]).await;
    assert_eq!(outcomes, [Outcome::Confirmed]);
}

#[tokio::test]
async fn queue_that_may_not_be_read_is_named() {
    let users = Users::new().await;
    users.owner.declare().await.unwrap();
    let (name, queue) = (users.topology.exchange, users.queue());
    let lines =
        format!(r"rabbitmqctl set_permissions limited '^$' '^{name}' '^{name}\.(internal|dead)$'");
    users.server.shell(&lines).await;
    let error = users.limited.consumer(queue, 1).await.err().unwrap();
    assert!(matches!(error, Error::Topology { .. }), "{error:?}");
    let text = error.to_string();
    for part in [queue, "lacks a permission", "docs/permissions.md"] {
        assert!(text.contains(part), "{text}");
    }
}
