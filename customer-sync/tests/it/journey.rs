//! The journeys of a customer, the same for every way to run customer-sync.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, until};

/// A running customer-sync and the Stripe that it talks to.
pub(crate) struct System {
    pub(crate) api: Client,
    pub(crate) sandbox: Client,
}

impl System {
    pub(crate) async fn create(&self, name: &str, email: &str) -> String {
        let body = json!({"name": name, "email": email});
        let (status, customer) = self
            .api
            .send(Method::POST, "/api/create-customer/", &body)
            .await;
        assert_eq!(status, StatusCode::CREATED, "{customer}");
        customer["id"].as_str().unwrap().to_owned()
    }

    /// Out by the original calls: created, updated and deleted in Stripe too.
    pub(crate) async fn goes_out(&self) {
        let id = self.create("Ada", "Ada@Example.com").await;
        let created = self.sandbox.one_of_row(&id, |_| true).await;
        assert_eq!(created["name"], "Ada");
        assert_eq!(created["email"], "Ada@Example.com");

        let body = json!({"name": "Ada Lovelace", "email": "ada@example.com"});
        let (status, _) = self
            .api
            .send(Method::PUT, "/api/update-customer", &body)
            .await;
        assert_eq!(status, StatusCode::OK);
        let renamed = |customer: &Value| customer["name"] == "Ada Lovelace";
        self.sandbox.one_of_row(&id, renamed).await;
        self.is_synced(&id).await;

        let body = json!({"email": "ada@example.com"});
        let (status, _) = self
            .api
            .send(Method::DELETE, "/api/delete-customer/", &body)
            .await;
        assert_eq!(status, StatusCode::OK);
        let stripe_id = created["id"].as_str().unwrap();
        until("the customer is deleted in Stripe", async || {
            let (_, shown) = self
                .sandbox
                .get(&format!("/v1/customers/{stripe_id}"))
                .await;
            (shown["deleted"] == true).then_some(())
        })
        .await;
    }

    /// Home from Stripe: an edit, a new customer and a deletion.
    pub(crate) async fn comes_home(&self) {
        let id = self.create("Grace", "grace@example.com").await;
        let stripe_id = self.sandbox.one_of_row(&id, |_| true).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/v1/customers/{stripe_id}");
        self.is_synced(&id).await;

        let edit = [("name", "Grace Hopper"), ("phone", "+1 555 0100")];
        self.sandbox.form(Method::POST, &path, &edit).await;
        let home = self.row(&id, |row| row["name"] == "Grace Hopper").await;
        assert_eq!(home["phone"], "+1 555 0100");
        assert_eq!(home["email"], "grace@example.com");

        let new = [("name", "Joan"), ("email", "joan@example.com")];
        self.sandbox.form(Method::POST, "/v1/customers", &new).await;
        self.row("joan@example.com", |row| row["name"] == "Joan")
            .await;

        self.sandbox.form(Method::DELETE, &path, &[]).await;
        until("the deletion came home", async || {
            let (status, _) = self.api.get(&format!("/api/v1/customers/{id}")).await;
            (status == StatusCode::NOT_FOUND).then_some(())
        })
        .await;
    }

    /// The row, once it passes.
    pub(crate) async fn row(&self, key: &str, passes: impl Fn(&Value) -> bool) -> Value {
        until("the row is as it is to be", async || {
            let (status, row) = self.api.get(&format!("/api/v1/customers/{key}")).await;
            (status == StatusCode::OK && passes(&row)).then_some(row)
        })
        .await
    }

    pub(crate) async fn is_synced(&self, id: &str) {
        let path = format!("/api/v1/customers/{id}/sync?wait=30s");
        let (status, sync) = self.api.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{sync}");
        assert_eq!(sync["status"], "synced", "{sync}");
    }
}
