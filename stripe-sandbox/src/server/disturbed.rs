//! A request that faults struck: the honest steps with the plan between them.

use std::sync::Arc;

use poem::{Body, Request, Response};

use super::line::Lines;
use crate::api::Api;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::fault::other::Other;
use crate::fault::plan::{Line, Plan};
use crate::sandbox::state::State;
use crate::world::lock;

/// What is sent, and what becomes of it on the way. Without an answer there was no effect.
pub(crate) struct Outcome {
    pub(crate) answer: Option<Answer>,
    pub(crate) line: Option<Line>,
}

/// Runs as a task of its own: a client that hangs up does not take the effect back.
pub(crate) async fn answer(state: Arc<State>, call: Call, plan: Plan) -> Outcome {
    if let Some(line) = plan.instead {
        if plan.late {
            state.delay(call);
        }
        return Outcome {
            answer: None,
            line: Some(line),
        };
    }
    let call = plan.alter(call);
    let answer = match &plan.refusal {
        Some(error) => Answer::refusal(error, call.request),
        None if plan.other_account => {
            let other = state.other.get_or_init(|| Other::new(&state.options));
            answer_of(other, &call, &plan).await
        }
        None if plan.other_mode => {
            let other = state.other_mode.get_or_init(|| Other::mode(&state.options));
            let call = other.with_its_key(&call);
            let mut answer = answer_of(other, &call, &plan).await;
            let id = call.path.rsplit('/').next().unwrap_or_default();
            if answer.status == 404 && lock(&state.world).customers.find(id).is_some() {
                other.name_the_other_mode(&mut answer);
            }
            answer
        }
        None => state.api().answer(&call, &plan.seam).await,
    };
    state.wake.notify_one();
    let answer = plan.spoil(answer);
    if !plan.delay_after.is_zero() {
        tokio::time::sleep(plan.delay_after).await;
    }
    Outcome {
        answer: Some(answer),
        line: plan.after,
    }
}

async fn answer_of(Other { world, options }: &Other, call: &Call, plan: &Plan) -> Answer {
    let api = Api {
        world,
        options,
        limiter: None,
    };
    api.answer(call, &plan.seam).await
}

/// The response that `line` lets through; a cut one is reset as it is written.
pub(crate) fn transmit(
    mut response: Response,
    line: Line,
    bytes: &bytes::Bytes,
    request: &Request,
    lines: &Lines,
) -> Response {
    match line {
        Line::Cut => {
            lines.cut(request.remote_addr());
            response
        }
        Line::GatewayError => Response::builder()
            .status(poem::http::StatusCode::BAD_GATEWAY)
            .content_type("text/html")
            .body("<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"),
        Line::Empty => {
            response.set_body(());
            response
        }
        Line::Garbled => {
            response.set_body("{\"id\": \"cus_");
            response
        }
        Line::Truncated => {
            let half = bytes.slice(..bytes.len() / 2);
            response.headers_mut().insert("content-length", bytes.len().into());
            response.set_body(Body::from_bytes_stream(broken_off(half)));
            response
        }
    }
}

/// The bytes, then an error. The pause between them lets the server put the bytes on the wire.
fn broken_off(
    half: bytes::Bytes,
) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Send + 'static {
    futures_util::stream::unfold(Some(half), |rest| async move {
        match rest {
            Some(half) => Some((Ok(half), None)),
            None => {
                tokio::task::yield_now().await;
                Some((Err(std::io::ErrorKind::ConnectionReset.into()), None))
            }
        }
    })
}
