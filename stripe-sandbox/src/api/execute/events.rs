//! Reading events.

use super::list::List;
use crate::api::action::Events;
use crate::api::answer::Answer;
use crate::options::Options;
use crate::wire::error::Error;
use crate::world::event::EventView;
use crate::world::{Cause, World};

pub(crate) fn execute(
    world: &mut World,
    options: &Options,
    action: Events,
    cause: &Cause,
) -> Result<Answer, Error> {
    world.events.prune(cause.now.timestamp());
    let view = |event| EventView {
        event,
        api_version: &options.api_version,
        livemode: options.livemode,
    };
    match action {
        Events::Retrieve(id) => {
            let event = world
                .events
                .find(&id)
                .ok_or_else(|| Error::no_such("event", &id))?;
            Ok(Answer::json(&view(event)))
        }
        Events::List(filter, window) => {
            let page = world.events.page(&filter, &window)?;
            let data = page.items.iter().map(view).collect();
            Ok(Answer::json(&List::new(data, page.has_more, "/v1/events")))
        }
    }
}
