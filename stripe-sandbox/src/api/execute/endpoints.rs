//! Webhook endpoints: create, read, change, delete.

use serde_json::json;

use super::list::List;
use crate::api::action::Endpoints;
use crate::api::answer::Answer;
use crate::options::Options;
use crate::wire::error::Error;
use crate::wire::page::{From, Window};
use crate::world::endpoint::{Endpoint, PREFIX};
use crate::world::{Cause, World};

pub(crate) fn execute(
    world: &mut World,
    options: &Options,
    action: Endpoints,
    cause: &Cause,
) -> Result<Answer, Error> {
    let livemode = options.livemode;
    match action {
        Endpoints::Create(change) => {
            let (id, secret) = (world.ids.draw(), world.ids.secret());
            let endpoint = change.create(id, secret, cause.now.timestamp());
            // The only answer that tells the secret.
            let answer = Answer::json(&endpoint.json(true, livemode));
            world.put_endpoint(endpoint)?;
            Ok(answer)
        }
        Endpoints::Update(id, change) => {
            let mut endpoint = world.endpoint(&id)?.clone();
            change.apply(&mut endpoint);
            let answer = Answer::json(&endpoint.json(false, livemode));
            world.put_endpoint(endpoint)?;
            Ok(answer)
        }
        Endpoints::Retrieve(id) => Ok(Answer::json(&world.endpoint(&id)?.json(false, livemode))),
        Endpoints::List(window) => list(&world.endpoints, &window, livemode),
        Endpoints::Delete(id) => {
            let known = world.endpoint(&id)?.id;
            world.remove_endpoint(known)?;
            Ok(Answer::json(
                &json!({ "id": id, "object": "webhook_endpoint", "deleted": true }),
            ))
        }
    }
}

fn list(endpoints: &[Endpoint], window: &Window, livemode: bool) -> Result<Answer, Error> {
    let cursor = match &window.from {
        From::Newest => None,
        From::After(id) | From::Before(id) => {
            let place = endpoints
                .iter()
                .position(|known| known.id.with_prefix(PREFIX) == *id);
            Some(place.ok_or_else(|| Error::no_such("webhook endpoint", id))?)
        }
    };
    let side = window.side(endpoints.len(), cursor);
    let page = window.collect(side, |place| Some(endpoints[place].json(false, livemode)));
    Ok(Answer::json(&List::new(
        page.items,
        page.has_more,
        "/v1/webhook_endpoints",
    )))
}
