//! The account and the mode that a database belongs to: with a key of any other nothing is sent, imported or compared.

use std::time::Duration;

use entity::downsync_state::{self, Column, Entity, ID};
use platform::config::Secret;
use platform::test_support::sqlite;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use stripe_sandbox::fault::Kind;
use sync_worker::downsync::account::check_account;
use sync_worker::preview;
use sync_worker::stripe::{Options, Stripe};
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, World, client_with_key};

const ACCOUNT: &str = "GET /v1/account";
const RETRIEVE: &str = "GET /v1/customers/{id}";

/// A world whose Stripe takes a key of either mode.
async fn world() -> World {
    let mut setup = Setup::default();
    setup.sandbox.api_keys = ["sk_test_engine", "rk_live_engine", "secret"]
        .map(str::to_owned)
        .to_vec();
    World::on(sqlite().await, setup).await
}

fn set_key(world: &mut World, key: &str) {
    world.engine.stripe = client_with_key(key, &world.stripe.url, Duration::from_secs(10));
}

async fn state(world: &World) -> downsync_state::Model {
    let state = Entity::find_by_id(ID).one(&world.engine.db).await.unwrap();
    state.unwrap()
}

/// As a database of an older version is, which knew no mode.
async fn forget_mode(world: &World) {
    Entity::update_many()
        .col_expr(Column::Livemode, Expr::value(Option::<bool>::None))
        .filter(Column::Id.eq(ID))
        .exec(&world.engine.db)
        .await
        .unwrap();
}

/// Lets the rest of a stopped lane pass.
async fn rest() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
}

/// A60
#[tokio::test]
async fn key_of_the_other_mode_changes_nothing_on_either_side() {
    let mut world = world().await;
    let known = world.synced(&[("email", "a@x.io"), ("name", "A")]).await;
    let gone = world.synced(&[("email", "b@x.io")]).await;
    world.pass().await;
    assert_eq!(state(&world).await.livemode, Some(false));
    world.stripe_creates(&[("email", "qa@x.io")]);
    world.update(known.id, &[("name", "B")]).await;
    world.delete(gone.id).await;
    let new = world.create(&[("email", "new@x.io")]).await;
    world.forget_requests();

    set_key(&mut world, "rk_live_engine");
    world.watch_writes().await;
    world.engine.lane.hold();
    for _ in 0..3 {
        assert_eq!(world.retry().await, 0);
        rest().await;
    }
    let reason = world.engine.lane.stopped().unwrap();
    assert!(
        reason.contains("live mode") && reason.contains("test mode"),
        "{reason}"
    );
    let stop = CancellationToken::new();
    for error in [
        world.try_pass().await.unwrap_err(),
        world.scanner().look_once(&stop).await.unwrap_err(),
        preview::read(&world.engine).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("live mode"), "{error:#}");
    }
    assert!(world.writes().await.is_empty());
    assert!(world.calls().is_empty());

    set_key(&mut world, "sk_test_engine");
    rest().await;
    world.retry().await;
    world.push(known.id).await;
    world.push(gone.id).await;
    world.push(new.id).await;
    world.settle().await;
    world.assert_in_step(known.id).await;
    world.assert_in_step(new.id).await;
    world.assert_gone(gone.id).await;
}

#[tokio::test]
async fn mode_of_an_older_database_is_pinned_by_a_linked_customer() {
    let mut world = world().await;
    world.synced(&[("email", "a@x.io")]).await;
    world.pass().await;
    forget_mode(&world).await;
    world.faults("*", Kind::OtherModeKey);
    set_key(&mut world, "rk_live_engine");
    let error = check_account(&world.engine).await.unwrap_err().to_string();
    assert!(error.contains("the other mode"), "{error}");
    assert_eq!(state(&world).await.livemode, None);
    world.heal();
    set_key(&mut world, "sk_test_engine");
    check_account(&world.engine).await.unwrap();
    assert_eq!(state(&world).await.livemode, Some(false));
}

#[tokio::test]
async fn key_that_says_no_mode_has_that_of_the_customers() {
    let mut world = world().await;
    world.synced(&[("email", "a@x.io")]).await;
    set_key(&mut world, "secret");
    check_account(&world.engine).await.unwrap();
    assert_eq!(state(&world).await.livemode, Some(false));
    // From now on an object of the other mode is refused under any key.
    set_key(&mut world, "secret");
    check_account(&world.engine).await.unwrap();
    assert_eq!(world.engine.stripe.livemode(), Some(false));
}

#[tokio::test]
async fn restricted_key_that_cannot_read_its_account_still_has_a_mode() {
    let mut world = world().await;
    world.faults(ACCOUNT, Kind::Forbidden);
    world.synced(&[("email", "a@x.io")]).await;
    world.pass().await;
    let pinned = state(&world).await;
    assert_eq!((pinned.account_id, pinned.livemode), (None, Some(false)));
    set_key(&mut world, "rk_live_engine");
    let error = world.try_pass().await.unwrap_err().to_string();
    assert!(error.contains("live mode"), "{error}");
}

#[tokio::test]
async fn restricted_key_of_another_account_is_known_by_its_customers() {
    let world = World::new().await;
    world.synced(&[("email", "a@x.io")]).await;
    world.pass().await;
    world.faults(ACCOUNT, Kind::Forbidden);
    check_account(&world.engine).await.unwrap();
    world.faults(RETRIEVE, Kind::OtherAccount);
    let error = world.try_pass().await.unwrap_err().to_string();
    assert!(error.contains("knows none of the customers"), "{error}");
}

#[tokio::test]
async fn stated_account_is_pinned_where_the_server_has_none() {
    let mut world = world().await;
    world.faults(ACCOUNT, Kind::GarbledBody);
    check_account(&world.engine).await.unwrap_err();
    let mut options = Options::new(Secret::new("sk_test_engine"), &world.stripe.url);
    options.account = Some("acct_1Stated".to_owned());
    world.engine.stripe = Stripe::new(options).unwrap();
    check_account(&world.engine).await.unwrap();
    let state = state(&world).await;
    assert_eq!(state.account_id.as_deref(), Some("acct_1Stated"));
    assert_eq!(state.livemode, Some(false));
}
