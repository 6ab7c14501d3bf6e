//! The sandbox's own routes, for tests and operators; no key is asked for.

use std::sync::Arc;
use std::time::Duration;

use poem::http::StatusCode;
use poem::web::{Data, Json, Path, Query};
use poem::{Route, delete, get, handler, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::sandbox::handle::Sandbox;
use crate::sandbox::state::State;
use crate::world::lock;

pub(crate) fn routes() -> Route {
    Route::new()
        .at("/health", get(health))
        .at("/requests", get(list_requests).delete(clear_requests))
        .at("/stats", get(stats))
        .at("/clock", get(read_clock).post(advance))
        .at("/load", post(load))
        .at(
            "/faults",
            get(list_faults).post(add_fault).delete(clear_faults),
        )
        .at("/faults/:id", delete(remove_fault))
        .at("/webhook_endpoints/:id/roll", post(roll))
}

type Shared<'a> = Data<&'a Arc<State>>;
type Answer = (StatusCode, Json<Value>);

#[handler]
fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

#[handler]
fn list_requests(Data(state): Shared<'_>, Query(query): Query<Since>) -> Json<Value> {
    const LIMIT_DEFAULT: usize = 10_000;
    let requests = state
        .traffic
        .since(query.since, query.limit.unwrap_or(LIMIT_DEFAULT));
    let last = requests.last().map_or(query.since, |request| request.seq);
    Json(json!({ "requests": requests, "last": last }))
}

#[handler]
fn clear_requests(Data(state): Shared<'_>) -> StatusCode {
    state.traffic.clear();
    StatusCode::NO_CONTENT
}

#[handler]
fn stats(Data(state): Shared<'_>) -> Json<Value> {
    let requests = state.traffic.counts();
    let world = lock(&state.world);
    Json(json!({
        "requests": requests,
        "customers": world.customers.live(),
        "customers_ever": world.customers.len(),
        "events": world.events.len(),
        "idempotency_keys": world.keys.len(),
        "webhook_endpoints": world.endpoints.len(),
    }))
}

#[handler]
fn read_clock(Data(state): Shared<'_>) -> Json<Value> {
    let now = state.options.clock.now();
    Json(json!({ "now": now.timestamp(), "now_us": now.timestamp_micros() }))
}

#[derive(Deserialize)]
struct Advance {
    advance_seconds: u64,
}

#[handler]
fn advance(Data(state): Shared<'_>, Json(body): Json<Advance>) -> Answer {
    let clock = &state.options.clock;
    if clock.advance(Duration::from_secs(body.advance_seconds)) {
        return (
            StatusCode::OK,
            Json(json!({ "now": clock.now().timestamp() })),
        );
    }
    (
        StatusCode::CONFLICT,
        Json(json!({ "error": "this sandbox runs by the system's clock" })),
    )
}

#[derive(Deserialize)]
struct Load {
    customers: u64,
    #[serde(default)]
    seed: u64,
}

/// Fills the account with plausible customers, without events.
#[handler]
async fn load(Data(state): Shared<'_>, Json(body): Json<Load>) -> Answer {
    let sandbox = Sandbox(state.clone());
    let loading = tokio::task::spawn_blocking(move || sandbox.load(body.customers, body.seed));
    let refused = match loading.await {
        Ok(Ok(())) => {
            return (StatusCode::OK, Json(json!({ "loaded": body.customers })));
        }
        Ok(Err(error)) => error.message,
        Err(error) => error.to_string(),
    };
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        Json(json!({ "error": refused })),
    )
}

#[derive(Deserialize)]
struct Roll {
    #[serde(default)]
    keep_old_seconds: u64,
}

#[handler]
fn roll(Data(state): Shared<'_>, Path(id): Path<String>, Json(body): Json<Roll>) -> Answer {
    match Sandbox(state.clone()).roll_secret(&id, Duration::from_secs(body.keep_old_seconds)) {
        Ok(secret) => (StatusCode::OK, Json(json!({ "id": id, "secret": secret }))),
        Err(error) => (
            StatusCode::NOT_FOUND,
            Json(json!({ "error": error.message })),
        ),
    }
}

#[handler]
fn list_faults(Data(state): Shared<'_>) -> Json<Value> {
    Json(json!({ "faults": state.faults.armed() }))
}

/// Unknown members are refused: a misspelt limit would otherwise strike without end, or never.
#[handler]
fn add_fault(Data(state): Shared<'_>, Json(body): Json<Value>) -> Answer {
    const MEMBERS: [&str; 14] = [
        "on",
        "kind",
        "times",
        "skip",
        "probability",
        "ms",
        "reason",
        "limit",
        "copies",
        "should_retry",
        "shows",
        "id",
        "bytes",
        "created",
    ];
    let unknown = body.as_object().and_then(|it| {
        it.keys()
            .find(|name| !MEMBERS.contains(&name.as_str()))
            .cloned()
    });
    if let Some(name) = unknown {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({ "error": format!("a fault has no member {name}") })),
        );
    }
    match serde_json::from_value::<Fault>(body) {
        Ok(fault) => (
            StatusCode::CREATED,
            Json(json!({ "id": Sandbox(state.clone()).inject(fault) })),
        ),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            Json(json!({ "error": error.to_string() })),
        ),
    }
}

#[handler]
fn remove_fault(Data(state): Shared<'_>, Path(id): Path<u64>) -> StatusCode {
    if Sandbox(state.clone()).remove_fault(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

#[handler]
fn clear_faults(Data(state): Shared<'_>) -> StatusCode {
    Sandbox(state.clone()).clear_faults();
    StatusCode::NO_CONTENT
}
