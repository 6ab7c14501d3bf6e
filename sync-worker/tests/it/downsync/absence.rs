//! Deletions, and what only looks like one.

use std::time::Duration;

use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events::Polled;
use sync_worker::policy::{DeleteCap, Policy};
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World};

/// MAX_DELETES and MAX_DELETE_PERCENT.
fn capped(count: u64, percent: u64) -> Policy {
    Policy {
        delete_cap: DeleteCap { count, percent },
        ..Policy::default()
    }
}

async fn with_customers(count: usize, policy: Policy) -> World {
    let world = World::with(Setup {
        policy,
        ..Setup::default()
    })
    .await;
    world.import(count).await;
    assert_eq!(world.pass().await.drifts, 0);
    assert_eq!(world.rows().await.len(), count);
    world.later(std::time::Duration::from_secs(60));
    world.forget_requests();
    world
}

async fn refused(world: &World) -> Option<String> {
    let now = world.now().await;
    let state = sync_worker::downsync::state::load(&world.engine.db, now);
    state.await.unwrap().refused
}

/// So many customers are parked for it, which is all that was written.
async fn assert_only_parked(world: &World, count: usize) {
    let written = world.writes().await;
    assert!(!written.iter().any(|table| table == "customer"));
    assert_eq!(written.len(), 2 * count, "{written:?}");
    let mut parked = 0;
    for row in world.rows().await {
        let reason = world.parked(row.id).await;
        parked += usize::from(reason.as_deref() == Some("deletion_refused"));
    }
    assert_eq!(parked, count);
}

/// A5: lists leave out customers of a test clock.
#[tokio::test]
async fn a_customer_that_the_list_leaves_out_and_that_is_alive_stays() {
    let world = with_customers(5, Policy::default()).await;
    world.watch_writes().await;
    world.fault("GET /v1/customers", Kind::LostItem);
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.deletions), (4, 0));
    assert!(world.writes().await.is_empty());
    assert_eq!(world.rows().await.len(), 5);
}

/// A5
#[tokio::test]
async fn a_customer_that_says_it_is_deleted_is_deleted_here() {
    let world = with_customers(5, Policy::default()).await;
    let row = world.rows().await.remove(2);
    world.stripe_deletes(&world.stripe_id(row.id).await);
    assert_eq!(world.pass().await.deletions, 1);
    world.assert_gone(row.id).await;
    assert_eq!(world.rows().await.len(), 4);
    assert_eq!(world.pass().await.deletions, 0);
}

/// A7
#[tokio::test]
async fn more_deletions_than_the_cap_are_refused_as_a_whole() {
    let cap = DeleteCap {
        count: 3,
        percent: 100,
    };
    let share = DeleteCap {
        count: 100,
        percent: 40,
    };
    for (delete_cap, customers, deletions) in [(cap, 8, 4), (share, 20, 12)] {
        let policy = Policy {
            delete_cap,
            ..Policy::default()
        };
        let world = with_customers(customers, policy).await;
        for row in world.rows().await.into_iter().take(deletions) {
            world.stripe_deletes(&world.stripe_id(row.id).await);
        }
        world.watch_writes().await;
        let error = world.try_pass().await.unwrap_err().to_string();
        assert!(error.contains("MAX_DELETES"), "{error}");
        assert_eq!(refused(&world).await, Some(error));
        assert_only_parked(&world, deletions).await;
        assert_eq!(world.rows().await.len(), customers);

        // What is known to be deleted is neither read nor written again.
        world.forget_requests();
        world.try_pass().await.unwrap_err();
        assert!(world.writes().await.is_empty());
        assert!(world.reads().iter().all(|read| !read.contains("cus_")));
    }
}

/// A million customers are not read again and again until a person has looked.
#[tokio::test]
async fn a_refused_pass_costs_a_tenth_of_the_time_at_most() {
    let world = with_customers(8, capped(3, 100)).await;
    let mut scanner = world.scanner();
    let stop = CancellationToken::new();
    scanner.look_once(&stop).await.unwrap();
    for row in world.rows().await.into_iter().take(4) {
        world.stripe_deletes(&world.stripe_id(row.id).await);
    }
    let mut scanner = world.scanner();
    let delay = Duration::from_millis(500);
    world.fault("GET /v1/customers", Kind::LatencyAfterEffect { delay });
    let refused = scanner.look_once(&stop).await.unwrap_err();
    assert!(format!("{refused:#}").contains("MAX_DELETES"));
    world.forget_requests();
    scanner.look_once(&stop).await.unwrap();
    assert!(world.reads().is_empty(), "{:?}", world.reads());
}

/// A7: a pass that is good again goes on as if nothing had been.
#[tokio::test]
async fn an_empty_list_is_refused_and_the_next_good_pass_proceeds() {
    let world = with_customers(5, Policy::default()).await;
    let row = world.rows().await.remove(0);
    world.stripe_deletes(&world.stripe_id(row.id).await);
    world.watch_writes().await;
    let ids: Vec<_> = world.stripe.sandbox.customers();
    assert_eq!(ids.len(), 4);
    // Every item lost, one after the other, would need four passes: another account is empty at once.
    world.faults("GET /v1/customers", Kind::EmptyPage);
    world.try_pass().await.unwrap_err();
    assert!(world.writes().await.is_empty());
    world.heal();
    assert_eq!(world.pass().await.deletions, 1);
    assert_eq!(refused(&world).await, None);
    assert_eq!(world.rows().await.len(), 4);
}

/// A7: nothing at all is listed, and nothing says that there is more.
#[tokio::test]
async fn a_list_with_nothing_in_it_deletes_nobody() {
    let world = with_customers(3, Policy::default()).await;
    for row in world.rows().await {
        world.stripe_deletes(&world.stripe_id(row.id).await);
    }
    world.watch_writes().await;
    let error = world.try_pass().await.unwrap_err().to_string();
    assert!(error.contains("lists no customer at all"), "{error}");
    assert_only_parked(&world, 3).await;
    assert_eq!(world.rows().await.len(), 3);
}

/// A7, A60
#[tokio::test]
async fn another_accounts_customers_are_neither_taken_nor_missed() {
    let world = with_customers(4, Policy::default()).await;
    world.watch_writes().await;
    world.faults("*", Kind::OtherAccount);
    let error = world.try_pass().await.unwrap_err().to_string();
    assert!(error.contains("but this database belongs to"), "{error}");
    assert!(world.writes().await.is_empty());
    world.heal();
    world.pass().await;
    assert_eq!(world.rows().await.len(), 4);
}

/// A7, A60: the events of another account are not ours either.
#[tokio::test]
async fn another_accounts_events_are_not_read() {
    let world = with_customers(4, Policy::default()).await;
    world.watch_writes().await;
    world.faults("*", Kind::OtherAccount);
    let mut scanner = world.scanner();
    for _ in 0..3 {
        scanner
            .look_once(&CancellationToken::new())
            .await
            .unwrap_err();
    }
    assert!(world.writes().await.is_empty());
    assert_eq!(world.rows().await.len(), 4);
    world.heal();
    world.stripe_creates(&[("email", "new@x.io")]);
    scanner.look_once(&CancellationToken::new()).await.unwrap();
    assert_eq!(world.rows().await.len(), 5);
}

/// A34
#[tokio::test]
async fn a_pass_that_fails_on_a_page_takes_what_it_saw_and_misses_nobody() {
    for kind in [
        Kind::ErrorBeforeEffect { should_retry: None },
        Kind::RateLimited {
            reason: stripe_sandbox::fault::Reason::GlobalRate,
        },
        Kind::ResetAfterEffect,
        Kind::TruncatedBody,
        Kind::GarbledBody,
    ] {
        let world = with_customers(150, Policy::default()).await;
        let rows = world.rows().await;
        let newest = world.rows_newest_in_stripe(&rows).await;
        let gone = &newest[149];
        world.stripe_deletes(&world.stripe_id(gone.id).await);
        world.stripe_edits(&world.stripe_id(newest[0].id).await, &[("name", "seen")]);
        let fault = stripe_sandbox::Fault::once("GET /v1/customers", kind.clone()).skip(1);
        world.stripe.sandbox.inject(fault);
        let before = pass_completed_at(&world).await;
        world.try_pass().await.unwrap_err();
        assert_eq!(world.rows().await.len(), 150, "{kind:?}");
        assert_eq!(world.row(newest[0].id).await.name.as_deref(), Some("seen"));
        assert_eq!(pass_completed_at(&world).await, before, "{kind:?}");
        assert_eq!(world.pass().await.deletions, 1, "{kind:?}");
        assert_eq!(world.rows().await.len(), 149, "{kind:?}");
    }
}

/// A35
#[tokio::test]
async fn a_list_that_repeats_itself_or_is_empty_in_the_middle_misses_nobody() {
    for kind in [Kind::RepeatedPage, Kind::EmptyPage] {
        let world = with_customers(150, Policy::default()).await;
        world.watch_writes().await;
        let fault = stripe_sandbox::Fault::always("GET /v1/customers", kind.clone()).skip(1);
        world.stripe.sandbox.inject(fault);
        world.try_pass().await.unwrap_err();
        assert!(world.writes().await.is_empty(), "{kind:?}");
        assert!(world.reads().len() < 5, "{kind:?}");
        world.heal();
        assert_eq!(world.pass().await.customers, 150);
    }
}

/// A35, A36, A37
#[tokio::test]
async fn a_list_that_is_odd_is_read_to_its_end() {
    for kind in [
        Kind::DuplicateItem,
        Kind::UnknownFields,
        Kind::ShortPage { limit: 7 },
        Kind::ShuffledPage,
    ] {
        let world = with_customers(30, Policy::default()).await;
        world.watch_writes().await;
        world.faults("GET /v1/customers", kind.clone());
        let counts = world.pass().await;
        assert_eq!((counts.customers, counts.deletions), (30, 0), "{kind:?}");
        assert!(world.writes().await.is_empty(), "{kind:?}");
    }
}

/// A33
#[tokio::test]
async fn a_customer_made_during_a_pass_is_not_missed() {
    let world = with_customers(150, Policy::default()).await;
    let delay = std::time::Duration::from_millis(150);
    let slow =
        stripe_sandbox::Fault::once("GET /v1/customers", Kind::LatencyBeforeEffect { delay });
    world.stripe.sandbox.inject(slow.skip(1));
    let create = async {
        world.until_read(3).await;
        let row = world.create(&[("email", "new@x.io")]).await;
        world.push(row.id).await;
        world.stripe_creates(&[("email", "theirs@x.io")]);
    };
    let (counts, ()) = tokio::join!(world.pass(), create);
    assert_eq!((counts.customers, counts.deletions), (150, 0));
    assert_eq!(world.rows().await.len(), 151);
    world.pass().await;
    assert_eq!(world.rows().await.len(), 152);
}

/// A6
#[tokio::test]
async fn a_deletion_that_is_told_twice_or_of_somebody_unknown_is_nothing_new() {
    let world = with_customers(3, Policy::default()).await;
    let row = world.rows().await.remove(0);
    let stripe_id = world.stripe_id(row.id).await;
    let unknown = world.stripe_creates(&[("name", "nobody")]);
    world.stripe_edits(&stripe_id, &[("name", "edited before")]);
    world.stripe_deletes(&stripe_id);
    world.stripe_deletes(&unknown);
    world.events().await;
    world.assert_gone(row.id).await;
    assert_eq!(world.rows().await.len(), 2);
    world.watch_writes().await;
    let again = world.read(&stripe_id).await;
    world.apply(&again).await;
    let never = world.read(&unknown).await;
    world.apply(&never).await;
    world.pass().await;
    assert!(world.writes().await.is_empty());
    assert!(world.unmatched().await.is_empty());
}

#[tokio::test]
async fn a_pass_that_is_told_to_stop_is_not_complete() {
    let world = with_customers(3, Policy::default()).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let mut drifts = world.drifts.lock().await;
    let before = pass_completed_at(&world).await;
    let stopped = sync_worker::downsync::pass::run_once(&world.engine, &mut drifts, &stop).await;
    assert!(stopped.is_err());
    assert_eq!(pass_completed_at(&world).await, before);
    assert_eq!(world.poll().await, Polled::New(0));
}

async fn pass_completed_at(world: &World) -> Option<chrono::DateTime<chrono::Utc>> {
    let now = world.now().await;
    let state = sync_worker::downsync::state::load(&world.engine.db, now);
    state.await.unwrap().pass_completed_at
}

/// MAX_DELETES limits what a pass infers; an event reports one customer.
#[tokio::test]
async fn deletions_that_events_report_have_no_limit() {
    let world = with_customers(15, capped(1, 1)).await;
    for row in world.rows().await {
        world.stripe_deletes(&world.stripe_id(row.id).await);
    }
    world.events().await;
    assert!(world.rows().await.is_empty());
    assert_eq!(refused(&world).await, None);
}
