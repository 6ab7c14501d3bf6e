//! A customer as the application sees it.
//!
//! Every change, whoever makes it, is `rev + 1` on the locked row. So the order of revs is the order
//! of commits, without gaps, and a rev names one state of one customer: it is the ETag.

use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, QuerySelect};

use crate::email;
use crate::external_id::ExternalId;
use crate::fields::{Field, Fields, Member, Members};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "customer")]
pub struct Model {
    /// UUID v7: ids grow with time, so the newest customers are the last of the index.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// As it was given, trimmed.
    pub email: String,
    /// The normal form, in lower case and with the domain in ASCII; unique among the living.
    pub email_key: String,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub description: Option<String>,
    /// The id that the application has for it ([`crate::external_id`]); unique among the living.
    pub external_id: Option<String>,
    pub rev: i64,
    /// The transaction of the last change, or of an earlier one if that has a higher number; 0 on SQLite. It never
    /// decreases, so the feed of changes ([`crate::change`]) keeps the order of a customer's changes.
    pub change_xid: i64,
    /// Set on a tombstone. A deleted row is kept until no event can name it any more, so that a late
    /// message about it is recognised and does not revive it.
    pub deleted_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The fields that are kept in step, in canonical form.
    pub fn fields(&self) -> Fields {
        Fields {
            email: Some(self.email.clone()),
            name: self.name.clone(),
            phone: self.phone.clone(),
            description: self.description.clone(),
        }
    }

    /// The id that the application has for it.
    pub fn external_id(&self) -> Option<ExternalId> {
        self.external_id.clone().map(ExternalId::stored)
    }

    /// What has a value.
    pub fn members(&self) -> Members {
        let has = |field: &Field| match field {
            Field::Email => true,
            Field::Name => self.name.is_some(),
            Field::Phone => self.phone.is_some(),
            Field::Description => self.description.is_some(),
        };
        let fields = Field::ALL.into_iter().filter(has).map(Member::Field);
        let external_id = self.external_id.as_ref().map(|_| Member::ExternalId);
        Members(fields.chain(external_id).collect())
    }

    /// Not so between [`crate::write::give_up_email`] and the next store.
    pub fn has_email(&self) -> bool {
        self.email_key == email::normal_form(&self.email)
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

/// The row, a tombstone included.
pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).one(db).await
}

/// The row, unless it is a tombstone.
pub async fn find_living(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .one(db)
        .await
}

/// The living customer with this e-mail, by its normal form.
pub async fn find_living_by_email_key(
    db: &impl ConnectionTrait,
    email_key: &str,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(Column::EmailKey.eq(email_key))
        .filter(Column::DeletedAt.is_null())
        .one(db)
        .await
}

/// Of these e-mails, by their normal form, those that a tombstone has.
pub async fn find_deleted_email_keys(
    db: &impl ConnectionTrait,
    email_keys: &[&str],
) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::EmailKey)
        .filter(Column::EmailKey.is_in(email_keys.iter().copied()))
        .filter(Column::DeletedAt.is_not_null())
        .into_tuple()
        .all(db)
        .await
}

/// Of these ids of applications, those that a living row has.
pub async fn find_living_external_ids(
    db: &impl ConnectionTrait,
    external_ids: Vec<String>,
) -> Result<Vec<String>, DbErr> {
    Entity::find()
        .select_only()
        .column(Column::ExternalId)
        .filter(Column::ExternalId.is_in(external_ids))
        .filter(Column::DeletedAt.is_null())
        .into_tuple()
        .all(db)
        .await
}

/// The row, a tombstone included, locked until the transaction ends. On SQLite the transaction has
/// the whole database's write lock already.
pub async fn lock(tx: &DatabaseTransaction, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).lock_exclusive().one(tx).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_its_email_until_that_is_given_up() {
        let row = |email: &str, key: &str| Model {
            id: Uuid::nil(),
            email: email.to_owned(),
            email_key: key.to_owned(),
            name: None,
            phone: None,
            description: None,
            external_id: None,
            rev: 1,
            change_xid: 0,
            deleted_at: None,
            created_at: DateTimeUtc::default(),
            updated_at: DateTimeUtc::default(),
        };
        assert!(row("Bob@x.io", "bob@x.io").has_email());
        assert!(row("bob@münchen.de", "bob@xn--mnchen-3ya.de").has_email());
        let id = Uuid::nil().to_string();
        assert!(!row("bob@münchen.de", &id).has_email());
    }
}
