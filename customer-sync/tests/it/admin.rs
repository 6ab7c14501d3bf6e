//! The ports of health and metrics.

use reqwest::StatusCode;

use crate::client::Client;
use crate::process::{Process, free_address};

#[tokio::test]
async fn admin_port_of_the_api_needs_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (api, admin) = (free_address(), free_address());
    let database = folder.path().join("api.db");
    let settings = [
        ("DATABASE_URL", format!("sqlite:{}", database.display())),
        ("API_LISTEN", api.clone()),
        ("API_ADMIN_LISTEN", admin.clone()),
        ("API_KEYS", "a-key".to_owned()),
    ];
    let _process = Process::start("api", folder.path(), &settings);
    let [api, admin] = [api, admin].map(|address| Client::api(&format!("http://{address}")));
    api.up("/health/live").await;
    assert_eq!(api.get("/metrics").await.0, StatusCode::UNAUTHORIZED);
    let (_, ready) = api.get("/health/ready").await;
    assert!(ready["components"].is_null(), "{ready}");

    assert_eq!(admin.get("/metrics").await.0, StatusCode::OK);
    let (_, ready) = admin.get("/health/ready").await;
    assert!(ready["components"].is_array(), "{ready}");
    // Nothing else is served there.
    let (status, _) = admin.get("/api/v1/customers").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
