//! What people do, on either side.

use entity::email::Email;
use entity::external_id::ExternalId;
use entity::fields::Fields;
use entity::write::{self, NewCustomer};
use entity::{customer, outbox, stripe_link};
use platform::database;
use sea_orm::ActiveValue::Set;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use super::{World, fields, with};

/// Not as strict as the API, so that a test can store what Stripe will refuse.
fn email(fields: &Fields) -> Email {
    Email::parse(fields.email.as_deref().unwrap_or_default()).unwrap()
}

/// As the API does it: one transaction, the row and its outbox row.
impl World {
    pub(crate) async fn create(&self, named: &[(&str, &str)]) -> customer::Model {
        self.try_create(named).await.unwrap()
    }

    pub(crate) async fn try_create(
        &self,
        named: &[(&str, &str)],
    ) -> Result<customer::Model, write::Error> {
        self.try_create_known(named, (None, None)).await
    }

    /// With the application's id of it, and Stripe's.
    pub(crate) async fn try_create_known(
        &self,
        named: &[(&str, &str)],
        (external_id, stripe_id): (Option<&str>, Option<&str>),
    ) -> Result<customer::Model, write::Error> {
        self.tick();
        let external_id = external_id.map(|id| ExternalId::parse(id).unwrap().unwrap());
        let fields = fields(named);
        let new = NewCustomer {
            id: Uuid::now_v7(),
            email: email(&fields),
            fields,
            external_id,
            stripe_id: stripe_id.map(str::to_owned),
            now: self.now().await,
            traceparent: None,
        };
        let tx = database::begin(&self.engine.db).await?;
        let row = write::create(&tx, &new).await?;
        tx.commit().await?;
        Ok(row)
    }

    pub(crate) async fn update(&self, id: Uuid, named: &[(&str, &str)]) -> customer::Model {
        self.try_update(id, named).await.unwrap()
    }

    pub(crate) async fn try_update(
        &self,
        id: Uuid,
        named: &[(&str, &str)],
    ) -> Result<customer::Model, write::Error> {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await?;
        let row = customer::lock(&tx, id).await?.unwrap();
        let fields = with(row.fields(), named);
        let email = email(&fields);
        let row = write::update(&tx, &row, (&email, &fields), now, None).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// The application gives the row another id.
    pub(crate) async fn give_external_id(&self, id: Uuid, external_id: Option<&str>) {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await.unwrap();
        let row = customer::lock(&tx, id).await.unwrap().unwrap();
        let fields = row.fields();
        let values = (&email(&fields), &fields, external_id);
        write::edit(&tx, &row, values, now, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn delete(&self, id: Uuid) -> customer::Model {
        self.tick();
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await.unwrap();
        let row = customer::lock(&tx, id).await.unwrap().unwrap();
        let row = write::delete(&tx, &row, now, None).await.unwrap();
        tx.commit().await.unwrap();
        row
    }

    /// A customer that both sides agree on.
    pub(crate) async fn synced(&self, named: &[(&str, &str)]) -> customer::Model {
        let row = self.create(named).await;
        self.push(row.id).await;
        self.events().await;
        self.assert_in_step(row.id).await;
        self.stripe.sandbox.clear_requests();
        row
    }

    /// So many customers that both sides agree on, made in one transaction.
    pub(crate) async fn import(&self, count: usize) {
        let now = self.now().await;
        let tx = database::begin(&self.engine.db).await.unwrap();
        for place in 0..count {
            let fields = fields(&[("email", &format!("{place}@x.io"))]);
            let email = email(&fields);
            let row = customer::Model {
                id: Uuid::now_v7(),
                email: email.as_given().to_owned(),
                email_key: email.key().to_owned(),
                name: None,
                phone: None,
                description: None,
                external_id: None,
                rev: 1,
                change_xid: 0,
                deleted_at: None,
                created_at: now,
                updated_at: now,
            };
            let insert = customer::Entity::insert(row.clone().into_active_model().reset_all());
            insert.exec_without_returning(&tx).await.unwrap();
            let link = stripe_link::lock_or_create(&tx, row.id, now).await;
            let mut link = link.unwrap().into_active_model();
            link.stripe_id = Set(Some(self.stripe_creates(&[("email", email.as_given())])));
            link.base = Set(Some(fields));
            link.synced_rev = Set(1);
            link.store(&tx, now).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(self.events().await.drifts, 0);
    }

    /// Somebody in Stripe's dashboard makes a customer; returns its id.
    pub(crate) fn stripe_creates(&self, named: &[(&str, &str)]) -> String {
        let customer = self.stripe.sandbox.create_as_human(named).unwrap();
        customer["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn stripe_edits(&self, stripe_id: &str, named: &[(&str, &str)]) {
        self.stripe.sandbox.edit_as_human(stripe_id, named).unwrap();
    }

    pub(crate) fn stripe_deletes(&self, stripe_id: &str) {
        self.stripe.sandbox.delete_as_human(stripe_id).unwrap();
    }
}

impl World {
    /// From now on the worker can't work with its database.
    pub(crate) async fn database_goes_away(&self) {
        let hide = "ALTER TABLE stripe_link RENAME TO away";
        self.engine.db.execute_unprepared(hide).await.unwrap();
    }

    pub(crate) async fn database_comes_back(&self) {
        let show = "ALTER TABLE away RENAME TO stripe_link";
        self.engine.db.execute_unprepared(show).await.unwrap();
    }

    /// The database as it was: a backup comes back.
    pub(crate) async fn restore(&self, row: customer::Model, link: stripe_link::Model) {
        let db = &self.engine.db;
        let row = row.into_active_model().reset_all();
        customer::Entity::update(row).exec(db).await.unwrap();
        let link = link.into_active_model().reset_all();
        stripe_link::Entity::update(link).exec(db).await.unwrap();
        outbox::Entity::delete_many().exec(db).await.unwrap();
    }
}
