//! The schema changes under operations in flight.

use migration::{Migrator, MigratorTrait};
use sync_worker::upsync::begin::{Begun, begin};
use sync_worker::upsync::finish::finish;
use sync_worker::upsync::send::send;

use crate::harness::each_world;

/// A59: the latest step back and forth again, between the begin and the end of a push.
#[tokio::test]
async fn a_push_that_began_before_a_migration_ends_after_it() {
    each_world(async |world| {
        let row = world.create(&[("email", "a@x.io"), ("name", "A")]).await;
        let Begun::Push(push) = begin(&world.engine, row.id).await.unwrap() else {
            panic!("nothing was begun");
        };
        let db = &world.engine.db.connection();
        Migrator::down(db, Some(1)).await.unwrap();
        assert_eq!(Migrator::get_pending_migrations(db).await.unwrap().len(), 1);
        Migrator::up(db, None).await.unwrap();
        let sent = send(&world.engine, &push).await.unwrap();
        finish(&world.engine, &push, sent).await.unwrap();
        world.assert_in_step(row.id).await;
    })
    .await;
}
