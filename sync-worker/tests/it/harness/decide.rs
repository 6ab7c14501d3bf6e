//! What a person decides, as the API does it: one transaction under the locks.

use entity::decide::{self, Refused, Side};
use entity::{conflict, customer, timeline, unmatched};
use platform::database;
use uuid::Uuid;

use super::World;

impl World {
    pub(crate) async fn retry_parked(&self, id: Uuid) -> Result<(), Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let locked = decide::lock(&tx, id).await?;
        decide::parked::retry(&tx, &locked, now).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn dismiss_parked(&self, id: Uuid) -> Result<(), Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let locked = decide::lock(&tx, id).await?;
        decide::parked::dismiss(&tx, &locked, now).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(crate) async fn resolve_parked(
        &self,
        id: Uuid,
        side: Side,
    ) -> Result<customer::Model, Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let locked = decide::lock(&tx, id).await?;
        let row = decide::parked::resolve(&tx, &locked, side, now, None).await?;
        tx.commit().await?;
        Ok(row)
    }

    pub(crate) async fn resolve_conflict(
        &self,
        found: &conflict::Model,
        side: Side,
    ) -> Result<customer::Model, Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let locked = decide::lock(&tx, found.customer_id).await?;
        let found = conflict::find(&tx, found.id).await?.unwrap();
        let (_, row) = decide::conflict::resolve(&tx, &locked, &found, side, (now, None)).await?;
        tx.commit().await?;
        Ok(row)
    }

    pub(crate) async fn dismiss_conflict(&self, found: &conflict::Model) {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await.unwrap();
        decide::conflict::dismiss(&tx, found, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn retry_unmatched(&self, id: &str) -> Result<unmatched::Model, Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let entry = decide::unmatched::retry(&tx, id, now).await?;
        tx.commit().await?;
        Ok(entry)
    }

    pub(crate) async fn dismiss_unmatched(&self, id: &str) -> Result<unmatched::Model, Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let entry = decide::unmatched::dismiss(&tx, id, now).await?;
        tx.commit().await?;
        Ok(entry)
    }

    pub(crate) async fn link_unmatched(
        &self,
        id: &str,
        customer_id: Uuid,
    ) -> Result<unmatched::Model, Refused> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let entry = decide::unmatched::link(&tx, id, customer_id, now).await?;
        tx.commit().await?;
        Ok(entry)
    }

    pub(crate) async fn accept_deletions(&self) -> u64 {
        self.tick();
        let now = self.now().await;
        let accepted = decide::parked::accept_deletions(&self.engine.db, now);
        accepted.await.unwrap()
    }

    /// What happened to a customer, in words: the step, and what came of it.
    pub(crate) async fn story(&self, id: Uuid) -> Vec<String> {
        let entries = timeline::page(&self.engine.db, id, None, 1_000).await;
        let told = entries.unwrap().into_iter().map(|entry| {
            let (step, detail) = (format!("{:?}", entry.step), entry.detail);
            let words = [
                Some(step.to_lowercase()),
                detail.kind,
                detail.result,
                detail.reason,
            ];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        told.collect()
    }
}
