//! Two transactions at one customer, on both databases.

use std::time::Duration;

use entity::unmatched::Reason;
use entity::{customer, stripe_link, write};
use futures_util::future::join_all;
use platform::database;
use platform::test_support::{postgres, until};
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, Statement};
use sync_worker::downsync::apply::Applied;
use sync_worker::downsync::pass::run_once;
use sync_worker::downsync::publish::Drifts;
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World, each_world};

/// Until a transaction of this database waits for another one's lock.
async fn until_blocked(world: &World) {
    until(
        "a transaction waits for a lock",
        Duration::from_secs(20),
        async || {
            let backend = world.engine.db.get_database_backend();
            let waiting = Statement::from_string(
                backend,
                "select 1 from pg_stat_activity where datname = current_database() \
             and wait_event_type = 'Lock'",
            );
            world
                .engine
                .db
                .query_one_raw(waiting)
                .await
                .unwrap()
                .map(drop)
        },
    )
    .await;
}

#[tokio::test]
async fn two_applies_of_one_new_customer_make_one_row() {
    each_world(async |world| {
        for round in 0..5 {
            let email = format!("{round}@x.io");
            let stripe_id = world.stripe_creates(&[("email", &email)]);
            let drift = world.read(&stripe_id).await;
            let applied = join_all((0..4).map(|_| world.apply(&drift))).await;
            let imported = applied
                .iter()
                .filter(|applied| **applied == Applied::Imported);
            assert_eq!(imported.count(), 1);
            assert_eq!(world.rows().await.len(), round + 1);
            assert!(world.unmatched().await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn a_drift_that_waits_for_a_lock_holds_up_no_other() {
    let world = World::on(postgres().await, Setup::default()).await;
    let (one, other) = (
        world.synced(&[("email", "a@x.io")]).await,
        world.synced(&[("email", "b@x.io")]).await,
    );
    let mut found = Vec::new();
    for row in [&one, &other] {
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "N")]);
        found.push(world.read(&stripe_id).await);
    }
    let held = world.engine.begin().await.unwrap();
    stripe_link::lock(&held, one.id).await.unwrap();
    let now = world.now().await;
    let mut publisher = world.drifts.lock().await;
    let name = async |row: &customer::Model| world.row(row.id).await.name;
    let look = async {
        let is_home = async || name(&other).await.is_some().then_some(());
        until("the other one is home", Duration::from_secs(20), is_home).await;
        assert_eq!(name(&one).await, None);
        held.commit().await.unwrap();
    };
    let (sent, ()) = tokio::join!(publisher.send(&found, now), look);
    sent.unwrap();
    assert_eq!(name(&one).await.as_deref(), Some("N"));
}

#[tokio::test]
async fn two_applies_of_one_edit_take_it_once() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let stripe_id = world.stripe_id(row.id).await;
        world.stripe_edits(&stripe_id, &[("name", "B")]);
        let drift = world.read(&stripe_id).await;
        join_all((0..4).map(|_| world.apply(&drift))).await;
        assert_eq!(world.row(row.id).await.rev, 2);
    })
    .await;
}

/// A55: the lease of the first scanner was lost, and it has not noticed.
#[tokio::test]
async fn two_full_passes_at_once_do_everything_once() {
    each_world(async |world| {
        let row = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
        let gone = world.synced(&[("email", "b@x.io")]).await;
        world.stripe_edits(&world.stripe_id(row.id).await, &[("name", "B")]);
        world.stripe_deletes(&world.stripe_id(gone.id).await);
        world.stripe_creates(&[("email", "c@x.io")]);
        let stop = CancellationToken::new();
        let pass = async || {
            let mut drifts = Drifts::new(world.broker.clone());
            run_once(&world.engine, &mut drifts, &stop).await.unwrap();
        };
        tokio::join!(pass(), pass());
        assert_eq!(world.rows().await.len(), 2);
        assert_eq!(world.row(row.id).await.name.as_deref(), Some("B"));
        assert_eq!(world.row(row.id).await.rev, 2);
        assert_eq!(world.row(gone.id).await.rev, 2);
        assert!(world.calls().is_empty());
        assert!(world.unmatched().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_import_beside_a_create_of_the_same_email_is_one_row_and_one_customer() {
    each_world(async |world| {
        for round in 0..5 {
            let email = format!("{round}@x.io");
            let stripe_id = world.stripe_creates(&[("email", &email)]);
            let drift = world.read(&stripe_id).await;
            let named = [("email", email.as_str())];
            let (created, applied) = tokio::join!(world.try_create(&named), world.apply(&drift));
            // A row that is younger than the copy is linked by its own push.
            let expected = [Applied::Imported, Applied::Linked, Applied::PutAside];
            assert!(expected.contains(&applied), "{applied:?}");
            let row = world.rows().await.pop().unwrap();
            match created {
                Ok(created) => assert_eq!(created.id, row.id),
                Err(write::Error::EmailTaken) => {}
                Err(error) => panic!("{error:?}"),
            }
            world.push(row.id).await;
            assert_eq!(world.stripe_id(row.id).await, stripe_id);
            assert_eq!(world.rows().await.len(), round + 1);
            assert_eq!(world.in_stripe_count(), round + 1);
            world.assert_in_step(row.id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_first_imports_at_once_make_every_customer_one_row() {
    each_world(async |world| {
        for place in 0..150 {
            world.stripe_creates(&[("email", &format!("{place}@x.io"))]);
        }
        let stop = CancellationToken::new();
        let pass = async || {
            let mut drifts = Drifts::new(world.broker.clone());
            run_once(&world.engine, &mut drifts, &stop).await.unwrap();
        };
        tokio::join!(pass(), pass());
        let rows = world.rows().await;
        assert_eq!(rows.len(), 150);
        for row in rows {
            let link = world.link(row.id).await;
            assert!(link.stripe_id.is_some());
            assert_eq!((row.rev, link.synced_rev), (1, 1));
            assert_eq!(link.base, Some(row.fields()));
        }
        assert!(world.unmatched().await.is_empty());
    })
    .await;
}

/// The others of its page do not suffer for it.
#[tokio::test]
async fn a_page_that_is_imported_beside_a_create_of_one_of_its_emails_makes_no_second_row() {
    let world = World::on(postgres().await, Setup::default()).await;
    for email in ["a@x.io", "b@x.io", "c@x.io"] {
        world.stripe_creates(&[("email", email)]);
    }
    let tx = database::begin(&world.engine.db).await.unwrap();
    let fields = crate::harness::fields(&[("email", "b@x.io")]);
    let new = write::NewCustomer {
        id: uuid::Uuid::now_v7(),
        email: entity::email::Email::parse("b@x.io").unwrap(),
        fields,
        external_id: None,
        stripe_id: None,
        now: world.now().await,
        traceparent: None,
    };
    let row = write::create(&tx, &new).await.unwrap();
    let create = async {
        until_blocked(&world).await;
        tx.commit().await.unwrap();
    };
    let (counts, ()) = tokio::join!(world.pass(), create);
    assert_eq!((counts.imported, counts.drifts), (2, 3));
    assert_eq!(world.rows().await.len(), 3);
    world.push(row.id).await;
    world.settle().await;
    assert_eq!(world.in_stripe_count(), 3);
    for row in world.rows().await {
        world.assert_in_step(row.id).await;
    }
}

/// Its push writes down whose it is while the pass takes it for nobody's: the address has been changed in Stripe.
#[tokio::test]
async fn a_customer_that_is_linked_while_its_page_is_imported_gets_no_row_of_its_own() {
    let world = World::on(postgres().await, Setup::default()).await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_creates(&[("email", "b@x.io")]);
    world.stripe_creates(&[("email", "c@x.io")]);
    let now = world.now().await;
    let tx = database::begin(&world.engine.db).await.unwrap();
    let link = stripe_link::lock_or_create(&tx, row.id, now).await.unwrap();
    let mut linked = link.into_active_model();
    linked.stripe_id = Set(Some(stripe_id.clone()));
    linked.base = Set(Some(row.fields()));
    linked.synced_rev = Set(row.rev);
    linked.store(&tx, now).await.unwrap();
    let finish = async {
        until_blocked(&world).await;
        tx.commit().await.unwrap();
    };
    let (counts, ()) = tokio::join!(world.pass(), finish);
    assert_eq!((counts.imported, counts.drifts), (1, 2));
    let rows = customer::Entity::find().all(&world.engine.db).await;
    assert_eq!(rows.unwrap().len(), 2);
    assert_eq!(world.row(row.id).await.email, "b@x.io");
    world.assert_in_step(row.id).await;
}

/// The row was found by its address, and is given up before it could be locked: a customer of somebody
/// else's must not be linked to a tombstone, which would delete it.
#[tokio::test]
async fn a_row_deleted_while_its_email_is_being_matched_is_not_linked() {
    let world = World::on(postgres().await, Setup::default()).await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io")]);
    let drift = world.read(&stripe_id).await;
    let tx = database::begin(&world.engine.db).await.unwrap();
    let locked = customer::lock(&tx, row.id).await.unwrap().unwrap();
    let delete = async {
        until_blocked(&world).await;
        let now = world.now().await;
        write::delete(&tx, &locked, now, None).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (applied, ()) = tokio::join!(world.apply(&drift), delete);
    assert_eq!(applied, Applied::Unmatched(Reason::CustomerDeleted));
    world.push(row.id).await;
    assert_eq!(world.shown(&stripe_id)["deleted"], serde_json::Value::Null);
    assert!(world.rows().await.is_empty());
    world.retry_unmatched(&stripe_id).await.unwrap();
    world.settle().await;
    let rows = world.rows().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(world.stripe_id(rows[0].id).await, stripe_id);
}

/// The same, where the row takes another address.
#[tokio::test]
async fn a_row_renamed_while_its_email_is_being_matched_is_not_linked() {
    let world = World::on(postgres().await, Setup::default()).await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let stripe_id = world.stripe_creates(&[("email", "a@x.io")]);
    let drift = world.read(&stripe_id).await;
    let tx = database::begin(&world.engine.db).await.unwrap();
    let locked = customer::lock(&tx, row.id).await.unwrap().unwrap();
    let rename = async {
        until_blocked(&world).await;
        let fields = crate::harness::with(locked.fields(), &[("email", "b@x.io")]);
        let email = "b@x.io".to_owned();
        let email = entity::email::Email::parse(&email).unwrap();
        let now = world.now().await;
        write::update(&tx, &locked, (&email, &fields), now, None)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let (applied, ()) = tokio::join!(world.apply(&drift), rename);
    assert_eq!(applied, Applied::Imported);
    assert_eq!(world.rows().await.len(), 2);
}

/// A48: the look at our new customer meets the transaction that links it.
#[tokio::test]
async fn a_customer_that_is_being_linked_is_not_taken_for_its_own_duplicate() {
    let world = World::on(postgres().await, Setup::default()).await;
    let row = world.create(&[("email", "a@x.io")]).await;
    let now = world.now().await;
    let tx = database::begin(&world.engine.db).await.unwrap();
    stripe_link::lock_or_create(&tx, row.id, now).await.unwrap();
    tx.commit().await.unwrap();
    let stripe_id = world.stripe_creates(&[
        ("email", "a@x.io"),
        ("metadata[customer_sync_id]", &row.id.to_string()),
    ]);
    let drift = world.read(&stripe_id).await;
    let tx = database::begin(&world.engine.db).await.unwrap();
    let link = stripe_link::lock(&tx, row.id).await.unwrap().unwrap();
    let finish = async {
        until_blocked(&world).await;
        let mut linked = link.into_active_model();
        linked.stripe_id = Set(Some(stripe_id.clone()));
        linked.base = Set(Some(row.fields()));
        linked.synced_rev = Set(row.rev);
        linked.store(&tx, now).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (applied, ()) = tokio::join!(world.apply(&drift), finish);
    assert_ne!(applied, Applied::Unmatched(Reason::Duplicate));
    assert!(world.unmatched().await.is_empty());
    assert_eq!(world.stripe_id(row.id).await, stripe_id);
}
