//! Faults of deliveries.

use std::time::Duration;

use stripe_sandbox::Fault;
use stripe_sandbox::fault::Kind;

use crate::support::Account;
use crate::support::receiver::Receiver;

#[tokio::test]
async fn webhooks_are_doubled_delayed_lost_and_wrongly_signed() {
    let account = Account::manual().await;
    let receiver = Receiver::open(&[]).await;
    let (_, secret) = account.register(&receiver.url, "*").await;
    account.sandbox().inject(Fault::once(
        "customer.created",
        Kind::WebhookDuplicated { copies: 1 },
    ));
    account.create(&[("name", "doubled")]).await;
    let twins = receiver.receives(2).await;
    assert_eq!(twins[0].event()["id"], twins[1].event()["id"]);

    account
        .sandbox()
        .inject(Fault::once("*", Kind::WebhookWronglySigned));
    account.create(&[("name", "forged")]).await;
    assert!(!receiver.receives(3).await[2].signed_by(&secret));

    account
        .sandbox()
        .inject(Fault::once("*", Kind::WebhookLost));
    account.sandbox().inject(
        Fault::once(
            "*",
            Kind::WebhookDelayed {
                delay: Duration::from_secs(1),
            },
        )
        .skip(1),
    );
    for name in ["lost", "late", "early"] {
        account.create(&[("name", name)]).await;
    }
    let names: Vec<String> = receiver
        .receives(5)
        .await
        .iter()
        .skip(3)
        .map(|it| {
            it.event()["data"]["object"]["name"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(names, ["early", "late"]);
    account.sandbox().inject(Fault::always(
        "*",
        Kind::WebhookShuffled {
            delay: Duration::from_millis(50),
        },
    ));
    account.create(&[("name", "shuffled")]).await;
    receiver.receives(6).await;
}
