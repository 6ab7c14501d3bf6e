//! Webhooks that work, fail and come back: how often the events are polled, and what the paths behind them make good.

use std::time::Duration;

use entity::customer;
use entity::stripe_event::{self, Source};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events::{self, Polled};
use sync_worker::downsync::pace::{Evidence, Pace};
use sync_worker::stripe::{EventPage, Lane};

use crate::harness::World;

const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

/// Delivers all webhooks that were not delivered yet.
async fn webhooks(world: &World) {
    let page = EventPage::default();
    let events = world
        .engine
        .stripe
        .events(Lane::Downsync, &page)
        .await
        .unwrap()
        .value
        .items;
    let now = world.now().await;
    stripe_event::receive(&world.engine.db, &events, Source::Webhook, now)
        .await
        .unwrap();
}

/// One look of the scanner, and what the loops beside it do.
async fn look(world: &World, pace: &mut Pace) -> Evidence {
    let poll = events::poll_with_evidence(&world.engine).await.unwrap();
    assert!(matches!(poll.polled, Polled::New(_)));
    pace.learn(poll.evidence);
    world.inbox().await;
    world.due().await;
    poll.evidence
}

/// Something happens on both sides; what was created here.
async fn something_happens(world: &World, round: usize) -> customer::Model {
    let here = world
        .create(&[("email", &format!("here{round}@x.io")), ("name", "0")])
        .await;
    world.push(here.id).await;
    world.stripe_creates(&[("email", &format!("there{round}@x.io"))]);
    here
}

/// The webhooks work until the polls are as seldom as they get.
async fn slow_down(world: &World, pace: &mut Pace) {
    // An event of the second of the cursor may have been counted by the look before.
    world.later(Duration::from_secs(1));
    for round in 0..6 {
        something_happens(world, 1_000 + round).await;
        webhooks(world).await;
        world.inbox().await;
        world.later(pace.interval());
        assert_eq!(look(world, pace).await, Evidence::Work);
    }
    assert_eq!(pace.interval(), LONGEST);
}

async fn emails(world: &World) -> (Vec<String>, Vec<String>) {
    let mut here: Vec<String> = world
        .rows()
        .await
        .into_iter()
        .map(|row| row.email)
        .collect();
    let there = world.stripe.sandbox.customers();
    let email = |customer: &serde_json::Value| customer["email"].as_str().unwrap().to_owned();
    let mut there: Vec<String> = there.iter().map(email).collect();
    here.sort();
    there.sort();
    (here, there)
}

/// A49: edits, creates and deletes on both sides, every minute of the hour.
#[tokio::test]
async fn an_hour_without_webhooks_loses_nothing_and_the_polls_are_fast_again_at_once() {
    let world = World::new().await;
    let mut pace = Pace::new(SHORTEST);
    slow_down(&world, &mut pace).await;
    let edited = world
        .synced(&[("email", "edited@x.io"), ("name", "0")])
        .await;
    let stripe_id = world.stripe_id(edited.id).await;
    webhooks(&world).await;

    let mut passed = Duration::ZERO;
    let mut acted = Duration::ZERO;
    let mut round = 0;
    let mut gone = Vec::new();
    while passed < HOUR {
        if passed >= acted {
            acted += Duration::from_secs(60);
            round += 1;
            let here = something_happens(&world, round).await;
            world.stripe_edits(&stripe_id, &[("name", &round.to_string())]);
            world
                .update(edited.id, &[("phone", &round.to_string())])
                .await;
            world.push(edited.id).await;
            match round % 3 {
                0 => {
                    world.delete(here.id).await;
                    world.push(here.id).await;
                }
                1 => world.stripe_deletes(&world.stripe_id(here.id).await),
                _ => {}
            }
            if round % 3 < 2 {
                gone.push(here.id);
            }
        }
        world.later(pace.interval());
        passed += pace.interval();
        look(&world, &mut pace).await;
        assert_eq!(pace.interval(), SHORTEST, "after {passed:?}");
    }
    world.settle().await;
    let (here, there) = emails(&world).await;
    assert_eq!(here, there);
    // Six and six of the time before, and the one that is edited all the time.
    assert_eq!(here.len(), 13 + 2 * round - gone.len());
    assert!(
        round > 40 && gone.len() > 20,
        "{round} rounds, {} gone",
        gone.len()
    );
    for id in gone {
        world.assert_gone(id).await;
    }
    let row = world.row(edited.id).await;
    assert_eq!(
        (row.name, row.phone),
        (Some(round.to_string()), Some(round.to_string()))
    );
    world.assert_in_step(edited.id).await;

    // They are back.
    world.stripe_edits(&stripe_id, &[("name", "back")]);
    webhooks(&world).await;
    world.later(pace.interval());
    assert_eq!(look(&world, &mut pace).await, Evidence::Work);
    assert_eq!(pace.interval(), 2 * SHORTEST);
}

/// A49: neither webhooks nor the list of events.
#[tokio::test]
async fn the_full_pass_alone_makes_an_hour_good_in_which_no_event_was_told() {
    let world = World::new().await;
    let kept = world.synced(&[("email", "kept@x.io"), ("name", "0")]).await;
    let deleted = world.synced(&[("email", "deleted@x.io")]).await;
    let stripe_id = world.stripe_id(kept.id).await;
    world.faults("GET /v1/events", Kind::GatewayErrorBeforeEffect);
    for round in 0..10 {
        something_happens(&world, round).await;
        world.stripe_edits(&stripe_id, &[("name", &round.to_string())]);
        world
            .update(kept.id, &[("phone", &round.to_string())])
            .await;
        world.push(kept.id).await;
        world.later(HOUR / 10);
        assert!(events::poll_with_evidence(&world.engine).await.is_err());
    }
    world.stripe_deletes(&world.stripe_id(deleted.id).await);
    world.pass().await;
    world.settle_without_events().await;
    world.recheck().await;
    let (here, there) = emails(&world).await;
    assert_eq!(here, there);
    assert_eq!(here.len(), 21);
    world.assert_gone(deleted.id).await;
    let row = world.row(kept.id).await;
    assert_eq!(
        (row.name.as_deref(), row.phone.as_deref()),
        (Some("9"), Some("9"))
    );
    world.assert_in_step(kept.id).await;
    // The events that can be read again tell nothing new.
    world.heal();
    let worked = world.events().await;
    assert_eq!(worked.drifts, 0);
}

/// The cursor goes on although every event is known, so no look reads more and more.
#[tokio::test]
async fn a_poll_that_finds_only_what_webhooks_brought_moves_the_cursor_and_stores_nothing_else() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let mut pace = Pace::new(SHORTEST);
    for round in 0..120 {
        world.stripe_edits(&stripe_id, &[("name", &round.to_string())]);
        webhooks(&world).await;
        world.later(SHORTEST);
    }
    assert_eq!(look(&world, &mut pace).await, Evidence::Work);
    world.later(Duration::from_secs(60));
    world.stripe_edits(&stripe_id, &[("name", "last")]);
    webhooks(&world).await;
    world.forget_requests();
    assert_eq!(look(&world, &mut pace).await, Evidence::Work);
    // One page, though Stripe has 122 events.
    let polls = world
        .reads()
        .into_iter()
        .filter(|read| read == "GET /v1/events");
    assert_eq!(polls.count(), 1);
    assert_eq!(look(&world, &mut pace).await, Evidence::None);
}

/// An event of a moment ago says nothing: its webhook may be on its way.
#[tokio::test]
async fn a_webhook_that_is_late_by_less_than_the_grace_speeds_nothing_up() {
    let world = World::new().await;
    let row = world.synced(&[("email", "a@x.io"), ("name", "0")]).await;
    let stripe_id = world.stripe_id(row.id).await;
    let mut pace = Pace::new(SHORTEST);
    slow_down(&world, &mut pace).await;
    for (late, evidence) in [(20, Evidence::Work), (40, Evidence::Fail)] {
        world.stripe_edits(&stripe_id, &[("name", &format!("{late} first"))]);
        webhooks(&world).await;
        world.stripe_edits(&stripe_id, &[("name", &format!("{late} last"))]);
        world.later(Duration::from_secs(late));
        assert_eq!(look(&world, &mut pace).await, evidence, "{late} s");
        assert_eq!(pace.interval() == LONGEST, evidence == Evidence::Work);
    }
}
