//! Stripe's API over one account: who may come in, which operation is meant, what an idempotency key makes of
//! it, what it does. The steps and their order are Stripe's; `seam` is where a test may get between them.

pub(crate) mod action;
pub(crate) mod answer;
mod auth;
pub(crate) mod call;
mod execute;
pub(crate) mod limit;
pub(crate) mod route;
pub(crate) mod seam;

use std::sync::Mutex;
use std::time::Instant;

use self::action::Action;
use self::answer::Answer;
use self::call::Call;
use self::execute::execute;
use self::limit::Limiter;
use self::route::Route;
use self::seam::Seam;
use crate::options::Options;
use crate::wire::error::Error;
use crate::world::idempotency::{Begun, Claim};
use crate::world::{Cause, World, lock};

/// The API of one account.
pub(crate) struct Api<'a> {
    pub(crate) world: &'a Mutex<World>,
    pub(crate) options: &'a Options,
    pub(crate) limiter: Option<&'a Limiter>,
}

impl Api<'_> {
    /// Answers one request.
    pub(crate) async fn answer(&self, call: &Call, seam: &Seam) -> Answer {
        let outcome = match self.admit(call) {
            Ok((route, claim)) => self.perform(call, &route, claim, seam).await,
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error| {
            let mut answer = Answer::refusal(&error, call.request);
            // Only the limiter above refuses so; a fault that plays one names its own reason.
            if error.code == Some("rate_limit") {
                answer
                    .headers
                    .push(("stripe-rate-limited-reason", "global-rate".to_owned()));
            }
            answer
        })
    }

    /// Authentication comes before routing: without a key even an unknown URL answers 401.
    fn admit(&self, call: &Call) -> Result<(Route, Option<Claim>), Error> {
        auth::check(self.options, call)?;
        if let Some(limiter) = self.limiter {
            limiter.admit(Instant::now())?;
        }
        Ok((Route::find(&call.method, &call.path)?, claim(call)?))
    }

    async fn perform(
        &self,
        call: &Call,
        route: &Route,
        claim: Option<Claim>,
        seam: &Seam,
    ) -> Result<Answer, Error> {
        if let Some(claim) = &claim {
            let mut world = lock(self.world);
            if seam.forget_key {
                world.forget_key(claim.key.clone())?;
            }
            if let Begun::Replay(saved) = world
                .keys
                .begin(claim, self.options.clock.now().timestamp())?
            {
                return Ok(Answer::replay(saved, self.options.livemode));
            }
        }
        let _in_flight = claim.as_ref().map(|claim| InFlight {
            world: self.world,
            claim,
        });
        // What is refused here never began, so its key stays free.
        let action = Action::prepare(route, call.form()?, self.options)?;
        seam.before_effect().await;
        let now = self.options.clock.now();
        let cause = Cause {
            now,
            request: Some(call.request),
            claim: claim.clone(),
        };
        let answer = match &seam.instead_of_effect {
            Some(error) => Answer::refusal(error, call.request),
            None => execute(self.world, self.options, action, cause, seam)
                .unwrap_or_else(|error| Answer::refusal(&error, call.request)),
        };
        let answer = match &seam.after_effect {
            Some(error) => Answer::refusal(error, call.request).about(answer.customer),
            None => answer,
        };
        if let Some(claim) = claim.as_ref().filter(|_| !answer.saved_with_effect) {
            lock(self.world).save(&answer.to_saved(
                claim.clone(),
                now.timestamp(),
                call.request,
            ))?;
        }
        Ok(answer)
    }
}

/// The claim of a POST with a key; the header means nothing on other methods.
fn claim(call: &Call) -> Result<Option<Claim>, Error> {
    const KEY_MAX: usize = 255;
    let Some(key) = call
        .idempotency_key
        .as_deref()
        .filter(|key| call.method == "POST" && !key.is_empty())
    else {
        return Ok(None);
    };
    if key.chars().count() > KEY_MAX {
        let message = format!("Idempotency keys can have up to {KEY_MAX} characters.");
        return Err(Error::invalid(400, message).kind("idempotency_error"));
    }
    Ok(Some(Claim::new(key, &call.path, &call.form()?.canonical())))
}

/// Frees a key when its request is over, however it ends.
struct InFlight<'a> {
    world: &'a Mutex<World>,
    claim: &'a Claim,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(self.world).keys.end(&self.claim.key);
    }
}
