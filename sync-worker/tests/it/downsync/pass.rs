//! A full pass over an account that is too large for one slice, or that does not come to its end at once.

use std::time::Duration;

use entity::message::Origin;
use entity::{customer, downsync_state, stripe_link};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use stripe_sandbox::Fault;
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::events::Polled;
use sync_worker::downsync::state;
use sync_worker::policy::Policy;
use sync_worker::upsync::due;

use crate::harness::{Setup, World, each_world};

/// So many customers in Stripe that nobody here knows, two in a second.
fn fill(world: &World, count: usize) {
    for place in 0..count {
        let email = format!("{place}@x.io");
        let named = [("email", email.as_str()), ("name", "N")];
        world.stripe.sandbox.create_as_human(&named).unwrap();
        if place % 2 == 1 {
            let clock = world.stripe.sandbox.options().clock.clone();
            assert!(clock.advance(Duration::from_secs(1)));
        }
    }
}

/// One slice at a time, so that it is known which page comes when.
async fn one_by_one() -> World {
    let policy = Policy {
        slices_at_once: 1,
        ..Policy::default()
    };
    World::with(Setup {
        policy,
        ..Setup::default()
    })
    .await
}

async fn progress(world: &World) -> downsync_state::Model {
    let now = world.now().await;
    state::load(&world.engine.db, now).await.unwrap()
}

/// The newest in Stripe first.
fn stripe_ids(world: &World) -> Vec<String> {
    let customers = world.stripe.sandbox.customers().into_iter();
    customers
        .map(|customer| customer["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The account, a request for each page, and at most so many more.
fn assert_few_requests(world: &World, customers: usize, more: usize) {
    let reads = world.reads();
    let pages = customers.div_ceil(100);
    assert!(reads.len() <= 1 + pages + more, "{} reads", reads.len());
    assert!(reads.iter().all(|read| !read.contains("cus_")), "{reads:?}");
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn a_first_import_takes_pages_at_once_and_reads_nobody_again() {
    each_world(async |world| {
        fill(&world, 2_500);
        let counts = world.pass().await;
        assert_eq!((counts.customers, counts.imported), (2_500, 2_500));
        assert_eq!((counts.drifts, counts.deletions), (2_500, 0));
        // Eight readers, each of whom may end with a page that is not full.
        assert_few_requests(&world, 2_500, 16);
        let rows = world.rows().await;
        assert_eq!(rows.len(), 2_500);
        for row in rows.iter().step_by(250) {
            world.assert_in_step(row.id).await;
            assert_eq!(row.rev, 1);
            assert!(world.link(row.id).await.stripe_created.is_some());
        }
        assert_eq!(world.outbox().await, 2_500);
        let last = rows.last().unwrap();
        assert_eq!(world.published(last.id).await, [(1, Origin::Stripe)]);
        let story = entity::timeline::page(&world.engine.db, rows[0].id, None, 10).await;
        let story = story.unwrap();
        assert_eq!(story.len(), 1);
        assert_eq!(story[0].detail.result.as_deref(), Some("imported"));

        world.forget_requests();
        let counts = world.pass().await;
        assert_eq!((counts.customers, counts.drifts), (2_500, 0));
        assert_few_requests(&world, 2_500, 16);
    })
    .await;
}

#[tokio::test]
async fn an_import_is_not_published_where_nobody_wants_that() {
    let mut world = World::new().await;
    world.engine.policy.publish_imports = false;
    fill(&world, 120);
    assert_eq!(world.pass().await.imported, 120);
    assert_eq!(world.outbox().await, 0);

    // What happens to them afterwards is.
    let row = world.rows().await.remove(0);
    let stripe_id = world.stripe_id(row.id).await;
    world.stripe_edits(&stripe_id, &[("name", "B")]);
    world.events().await;
    assert_eq!(world.published(row.id).await, [(2, Origin::Stripe)]);
}

#[tokio::test]
async fn a_pass_shows_how_far_it_is_while_it_lasts() {
    let world = World::new().await;
    fill(&world, 500);
    let mut glance = world.engine.gauge.watch();
    let watch = async {
        let mut seen = Vec::new();
        while glance.changed().await.is_ok() {
            let Some(shown) = *glance.borrow_and_update() else {
                return seen;
            };
            seen.push((shown.customers, shown.pages));
        }
        seen
    };
    let (_, seen) = tokio::join!(world.pass(), watch);
    assert!(seen.is_sorted());
    let (customers, pages) = *seen.last().unwrap();
    assert_eq!(customers, 500);
    assert!(pages >= 5);
}

/// If one of them ends the process, it must be known which.
#[tokio::test]
async fn while_a_worker_is_known_to_have_died_everybody_is_imported_by_himself() {
    let world = World::new().await;
    fill(&world, 50);
    let long_ago = world.now().await - chrono::Duration::minutes(1);
    world.worker_beats_at(long_ago).await;
    let counts = world.pass().await;
    assert_eq!((counts.drifts, counts.imported), (50, 0));
    assert_eq!(world.rows().await.len(), 50);
}

/// A51
#[tokio::test]
async fn a_pass_in_slices_over_what_is_in_step_writes_nothing() {
    let world = World::new().await;
    fill(&world, 1_500);
    world.pass().await;
    world.watch_writes().await;
    for _ in 0..2 {
        assert_eq!(world.pass().await.customers, 1_500);
    }
    assert!(world.writes().await.is_empty());
    assert_eq!(progress(&world).await.pass_progress, None);
}

/// Of the thousands that are compared by one sum.
#[tokio::test]
async fn whoever_differs_is_found_wherever_they_are_in_the_slices() {
    each_world(async |world| {
        fill(&world, 2_400);
        world.pass().await;
        world.later(Duration::from_secs(60));
        let ids = stripe_ids(&world);
        let mut edits = Vec::new();
        // Two who have exchanged what they had, and two who have the same as each other.
        world.stripe_edits(&ids[70], &[("name", "A"), ("phone", "B")]);
        world.stripe_edits(&ids[71], &[("name", "B"), ("phone", "A")]);
        world.pass().await;
        world.later(Duration::from_secs(60));
        edits.push((&ids[70], [("name", "B"), ("phone", "A")]));
        edits.push((&ids[71], [("name", "A"), ("phone", "B")]));
        edits.push((&ids[5], [("name", "C"), ("phone", "D")]));
        edits.push((&ids[2_390], [("name", "C"), ("phone", "D")]));
        for (stripe_id, fields) in &edits {
            world.stripe_edits(stripe_id, fields);
        }
        let counts = world.pass().await;
        assert_eq!((counts.customers, counts.drifts), (2_400, 4));
        for (stripe_id, fields) in &edits {
            let link = stripe_link::find_by_stripe_id(&world.engine.db, stripe_id).await;
            let row = world.row(link.unwrap().unwrap().customer_id).await;
            world.assert_in_step(row.id).await;
            assert_eq!(row.name.as_deref(), Some(fields[0].1));
            assert_eq!(row.phone.as_deref(), Some(fields[1].1));
        }
        assert_eq!(world.pass().await.drifts, 0);
    })
    .await;
}

/// More than a reader keeps until it can close a part.
#[tokio::test]
async fn a_second_in_which_thousands_were_made_is_looked_at_as_it_comes() {
    let world = World::new().await;
    for place in 0..3_300 {
        let email = format!("{place}@x.io");
        let named = [("email", email.as_str())];
        world.stripe.sandbox.create_as_human(&named).unwrap();
    }
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.imported), (3_300, 3_300));
    world.later(Duration::from_secs(60));
    let ids = stripe_ids(&world);
    world.stripe_edits(&ids[3_299], &[("name", "C")]);
    world.stripe_edits(&ids[0], &[("name", "C")]);
    world.stripe_deletes(&ids[1_000]);
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.drifts), (3_299, 2));
    assert_eq!(counts.deletions, 1);
    assert_eq!(world.rows().await.len(), 3_299);
    let counts = world.pass().await;
    assert_eq!((counts.drifts, counts.deletions), (0, 0));
}

/// A database from before there were fingerprints.
#[tokio::test]
async fn fingerprints_that_are_missing_or_wrong_are_worked_out_by_the_next_pass() {
    each_world(async |world| {
        fill(&world, 1_200);
        world.pass().await;
        world.later(Duration::from_secs(60));
        let rows = world.rows().await;
        let db = &world.engine.db;
        let spoilt = stripe_link::Entity::update_many().col_expr(
            stripe_link::Column::Fingerprint,
            Expr::value(Option::<i64>::None),
        );
        spoilt.exec(db).await.unwrap();
        let wrong = stripe_link::Entity::update_many()
            .col_expr(stripe_link::Column::Fingerprint, Expr::value(1_i64))
            .filter(stripe_link::Column::CustomerId.eq(rows[600].id));
        wrong.exec(db).await.unwrap();
        let gone = stripe_link::find(db, rows[7].id).await.unwrap().unwrap();
        world.stripe_deletes(&gone.stripe_id.unwrap());

        let counts = world.pass().await;
        assert_eq!((counts.drifts, counts.deletions), (0, 1));
        for row in world.rows().await {
            world.link(row.id).await;
        }
        if world.is_sqlite() {
            world.watch_writes().await;
            world.pass().await;
            assert!(world.writes().await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn deletions_are_found_wherever_they_are_in_the_slices() {
    each_world(async |world| {
        fill(&world, 1_200);
        world.pass().await;
        for stripe_id in stripe_ids(&world).into_iter().step_by(150) {
            world.stripe_deletes(&stripe_id);
        }
        world.forget_requests();
        let counts = world.pass().await;
        assert_eq!((counts.customers, counts.deletions), (1_192, 8));
        assert_eq!(world.rows().await.len(), 1_192);
        let proofs = world
            .reads()
            .into_iter()
            .filter(|read| read.contains("cus_"));
        assert_eq!(proofs.count(), 8);
        assert_eq!(world.pass().await.deletions, 0);
    })
    .await;
}

/// A34, A56: what was closed is not read again, and who was missing there is not forgotten.
#[tokio::test]
async fn a_pass_that_ended_too_early_is_gone_on_with_at_its_slice() {
    let world = one_by_one().await;
    fill(&world, 2_500);
    world.pass().await;
    world.later(Duration::from_secs(60));
    let ids = stripe_ids(&world);
    for gone in [3, 2_400] {
        world.stripe_deletes(&ids[gone]);
    }
    let fault = Fault::always("GET /v1/customers", Kind::ResetAfterEffect);
    world.stripe.sandbox.inject(fault.skip(22));
    world.try_pass().await.unwrap_err();
    assert_eq!(world.rows().await.len(), 2_500);
    assert!(progress(&world).await.pass_progress.is_some());
    world.heal();

    world.forget_requests();
    let counts = world.pass().await;
    assert_eq!((counts.customers, counts.deletions), (2_498, 2));
    assert_eq!(world.rows().await.len(), 2_498);
    // The account, what was not closed, and for each of the two a proof and a look for others with its e-mail.
    assert!(world.reads().len() <= 1 + 5 + 2 * 2, "{:?}", world.reads());
    assert_eq!(progress(&world).await.pass_progress, None);
}

#[tokio::test]
async fn a_pass_that_makes_up_for_lost_events_begins_at_the_beginning() {
    let world = one_by_one().await;
    fill(&world, 2_500);
    let fault = Fault::once("GET /v1/customers", Kind::ResetAfterEffect);
    world.stripe.sandbox.inject(fault.skip(22));
    world.try_pass().await.unwrap_err();
    assert!(progress(&world).await.pass_progress.is_some());
    let now = world.now().await;
    let lose = |state: &mut downsync_state::ActiveModel| state.events_cursor = Set(None);
    state::store(&world.engine.db, now, lose).await.unwrap();
    assert_eq!(world.poll().await, Polled::NeedsPass);
    assert_eq!(progress(&world).await.pass_progress, None);
    world.forget_requests();
    assert_eq!(world.pass().await.customers, 2_500);
    assert_eq!(world.reads().len(), 1 + 25);
}

/// A33: Stripe knows nothing of the customer that the next page was to start after.
#[tokio::test]
async fn a_cursor_whose_customer_is_deleted_does_not_end_the_pass() {
    let mut setup = Setup::default();
    setup.sandbox.deleted_cursor_works = false;
    let world = World::with(setup).await;
    world.import(250).await;
    world.pass().await;
    world.forget_requests();
    let delay = Duration::from_millis(150);
    let slow = Fault::once("GET /v1/customers", Kind::LatencyBeforeEffect { delay });
    world.stripe.sandbox.inject(slow.skip(1));
    let ids = stripe_ids(&world);
    let delete = async {
        world.until_read(3).await;
        world.stripe_deletes(&ids[99]);
        world.stripe_deletes(&ids[98]);
    };
    let (counts, ()) = tokio::join!(world.pass(), delete);
    assert_eq!((counts.customers, counts.deletions), (250, 0));
    assert_eq!(world.pass().await.deletions, 2);
}

/// The link was made before the age of customers was noted.
#[tokio::test]
async fn a_customer_of_unknown_age_that_is_gone_is_missed() {
    let world = World::new().await;
    world.import(5).await;
    let row = world.rows().await.remove(2);
    assert_eq!(world.link(row.id).await.stripe_created, None);
    world.later(Duration::from_secs(60));
    world.stripe_deletes(&world.stripe_id(row.id).await);
    assert_eq!(world.pass().await.deletions, 1);
    for row in world.rows().await {
        assert!(world.link(row.id).await.stripe_created.is_some());
    }
}

/// A48: the create was carried out and nobody knows, and the address was changed since.
#[tokio::test]
async fn a_customer_whose_create_is_in_doubt_is_not_imported_beside_its_row() {
    let world = World::new().await;
    let row = world.create(&[("email", "a@x.io")]).await;
    world.fault("POST /v1/customers", Kind::ResetAfterEffect);
    world.push(row.id).await;
    assert_eq!(world.in_stripe_count(), 1);
    world.update(row.id, &[("email", "b@x.io")]).await;
    fill(&world, 10);
    world.pass().await;
    assert_eq!(world.rows().await.len(), 11);
    world.settle().await;
    assert_eq!(world.rows().await.len(), 11);
    assert_eq!(world.in_stripe_count(), 11);
    world.assert_in_step(row.id).await;
}

/// A58: the other way round. The pass asks for the pushes, and does not wait for them.
#[tokio::test]
async fn a_full_database_and_an_empty_stripe_are_brought_into_step() {
    each_world(async |world| {
        let mut rows = Vec::new();
        for place in 0..120 {
            rows.push(world.create(&[("email", &format!("{place}@x.io"))]).await);
        }
        entity::outbox::Entity::delete_many()
            .exec(&world.engine.db)
            .await
            .unwrap();
        make_older(&world).await;
        assert_eq!(world.pass().await.missed, 120);
        assert_eq!(world.in_stripe_count(), 0);
        assert_eq!(due::run_once(&world.engine).await.unwrap(), 120);
        assert_eq!(world.in_stripe_count(), 120);
        for row in rows.iter().step_by(20) {
            world.assert_in_step(row.id).await;
        }
    })
    .await;
}

/// Nobody can move the clock of Postgres.
async fn make_older(world: &World) {
    let long_ago = world.now().await - chrono::Duration::hours(1);
    customer::Entity::update_many()
        .col_expr(customer::Column::UpdatedAt, Expr::value(long_ago))
        .exec(&world.engine.db)
        .await
        .unwrap();
}
