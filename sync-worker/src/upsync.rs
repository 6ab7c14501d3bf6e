//! To Stripe: a message says "look at this customer", and what the row holds now is pushed.
//!
//! begin (what to send is decided and written down) → send (no transaction open) → finish (the
//! outcome is written down). Every step can be cut: whoever comes next goes on from what is written.

use platform::database::within_bounds;
use uuid::Uuid;

use crate::engine::Engine;

pub mod begin;
pub mod consume;
mod coverage;
pub mod due;
pub mod finish;
pub mod missed;
pub mod plan;
mod pushed;
pub mod send;
pub mod sweep;

pub use begin::Begun;
pub use pushed::Pushed;

/// More rounds than a customer edited at full speed needs; then the rest waits for its next message.
const ROUNDS: usize = 10;

/// Pushes one customer until Stripe holds what the row holds, or it has to wait.
///
/// Returns `None` when there was nothing to send.
///
/// # Errors
/// The database is away, or a unique value was taken meanwhile. Whatever was begun is repeated.
pub async fn push(
    engine: &Engine,
    customer_id: Uuid,
) -> Result<Option<Pushed>, entity::write::Error> {
    let mut last = None;
    let mut was_read = false;
    for _ in 0..ROUNDS {
        let begun = begin::begin_knowing(engine, customer_id, was_read);
        let push = match within_bounds(begun).await? {
            Begun::Nothing(plan) => {
                tracing::debug!(customer.id = %customer_id, ?plan, "nothing to push");
                return Ok(last);
            }
            Begun::Push(push) => push,
        };
        engine.steps.reach("push: begun").await;
        let sent = send::send(engine, &push).await?;
        was_read = sent.shows_customer();
        engine.steps.reach("push: sent").await;
        let pushed = within_bounds(finish::finish(engine, &push, sent)).await?;
        metrics::counter!("upsync_pushes_total", "result" => pushed.as_str()).increment(1);
        tracing::debug!(customer.id = %customer_id, rev = push.rev, ?pushed, "pushed");
        last = Some(pushed);
        engine.steps.reach("push: finished").await;
        if pushed != Pushed::Again {
            return Ok(last);
        }
    }
    Ok(last)
}
