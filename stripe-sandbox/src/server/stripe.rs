//! Between HTTP and the API: reads a request, writes its answer with the headers that every answer has.

use std::sync::Arc;
use std::time::SystemTime;

use poem::http::HeaderName;
use poem::{Endpoint, Request, Response};

use super::disturbed::{self, Outcome};
use super::line::Lines;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::route::Route;
use crate::api::seam::Seam;
use crate::fault::plan::Line;
use crate::sandbox::state::State;
use crate::sandbox::traffic::{self, epoch_us};
use crate::wire::error::Error;
use crate::world::customer::PREFIX;
use crate::world::lock;

/// The largest body that is read.
const BODY_MAX: usize = 1024 * 1024;

/// Everything that is neither the human page nor the sandbox's own.
pub(crate) struct Api;

impl Endpoint for Api {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let received = SystemTime::now();
        let state: Arc<State> = request
            .data::<Arc<State>>()
            .expect("the routes carry the state")
            .clone();
        let lines: Lines = request
            .data::<Lines>()
            .expect("the routes carry the lines")
            .clone();
        let body = request.take_body().into_bytes_limit(BODY_MAX).await;
        let mut call = read(&state, &request);
        let outcome = match body {
            Ok(body) => {
                call.body = body;
                answer(&state, &call, received).await
            }
            Err(error) => {
                let error = Error::invalid(400, format!("The request body can't be read: {error}"));
                Outcome {
                    answer: Some(Answer::refusal(&error, call.request)),
                    line: None,
                }
            }
        };
        let answer = outcome.answer.unwrap_or_else(|| Answer::json(&()));
        let bytes = answer.body.clone();
        let response = respond(&state, &call, answer);
        Ok(match outcome.line {
            Some(line) => disturbed::transmit(response, line, &bytes, &request, &lines),
            None => response,
        })
    }
}

async fn answer(state: &Arc<State>, call: &Call, received: SystemTime) -> Outcome {
    let route = Route::find(&call.method, &call.path).ok();
    let name = route.as_ref().map_or("unknown", Route::pattern);
    let seq = state
        .traffic
        .begin(record(call, route.as_ref(), received), name);
    let plan = state
        .faults
        .plan(name, &format!("{} {}", call.method, call.path));
    let outcome = if plan.is_nothing() {
        let answer = state.api().answer(call, &Seam::default()).await;
        state.wake.notify_one();
        Outcome {
            answer: Some(answer),
            line: None,
        }
    } else {
        state
            .traffic
            .update(seq, |request| request.fault = Some(plan.names.join(",")));
        let task = state
            .requests
            .spawn(disturbed::answer(state.clone(), call.clone(), plan));
        task.await.unwrap_or(Outcome {
            answer: None,
            line: Some(Line::Cut),
        })
    };
    state.traffic.update(seq, |request| {
        request.status = match (&outcome.answer, outcome.line) {
            (_, Some(Line::Cut)) => None,
            (_, Some(Line::GatewayError)) => Some(502),
            (answer, _) => answer.as_ref().map(|answer| answer.status),
        };
        request.answered_at_us = request.status.map(|_| epoch_us(SystemTime::now()));
        if let Some(customer) = outcome.answer.as_ref().and_then(|answer| answer.customer) {
            request.customer = Some(customer.with_prefix(PREFIX));
        }
    });
    outcome
}

fn read(state: &State, request: &Request) -> Call {
    let header = |name: &str| request.header(name).map(str::to_owned);
    Call {
        request: lock(&state.world).ids.draw(),
        method: request.method().to_string(),
        path: request.original_uri().path().to_owned(),
        query: request
            .original_uri()
            .query()
            .unwrap_or_default()
            .to_owned(),
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        account: header("stripe-account"),
        version: header("stripe-version"),
        content_type: header("content-type"),
        body: bytes::Bytes::new(),
    }
}

fn record(call: &Call, route: Option<&Route>, received: SystemTime) -> traffic::Request {
    let id = route
        .map(|route| route.id.as_str())
        .filter(|id| id.starts_with(PREFIX));
    traffic::Request {
        seq: 0,
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        status: None,
        idempotency_key: call.idempotency_key.clone(),
        request_id: call.request.with_prefix("req_"),
        received_at_us: epoch_us(received),
        answered_at_us: None,
        parameters: call.fingerprint(),
        customer: id.map(str::to_owned),
        customer_sync_id: call.metadata("customer_sync_id"),
        fault: None,
    }
}

/// The sandbox's own time: a client may go by it.
fn httpdate(state: &State) -> String {
    let now = state.options.clock.now();
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn respond(state: &State, call: &Call, answer: Answer) -> Response {
    let version = call
        .version
        .clone()
        .unwrap_or_else(|| state.options.api_version.clone());
    let status = poem::http::StatusCode::from_u16(answer.status).unwrap_or_default();
    let mut response = Response::builder()
        .status(status)
        .content_type("application/json")
        .header("request-id", call.request.with_prefix("req_"))
        .header("stripe-version", version)
        .header("date", httpdate(state))
        .header("cache-control", "no-cache, no-store");
    if let Some(key) = call
        .idempotency_key
        .as_ref()
        .filter(|_| call.method == "POST")
    {
        response = response.header("idempotency-key", key);
    }
    for (name, value) in answer.headers {
        response = response.header(HeaderName::from_static(name), value);
    }
    response.body(answer.body)
}
