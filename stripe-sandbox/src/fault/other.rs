//! Another account: what a client finds that was given the wrong key.

use std::sync::Mutex;

use crate::options::Options;
use crate::wire::form::Form;
use crate::world::customer::change::Change;
use crate::world::{Cause, World};

const ACCOUNT: &str = "acct_1SomebodyElses0";

pub(crate) struct Other {
    pub(crate) world: Mutex<World>,
    pub(crate) options: Options,
}

impl Other {
    /// An account with three customers of its own, in memory.
    pub(crate) fn new(options: &Options) -> Self {
        // Another seed, or the two accounts would draw the same identifiers.
        let seed = options.seed.map(|seed| seed ^ 0x6f74_6865_7261_6363);
        let options = Options {
            account_id: ACCOUNT.to_owned(),
            file: None,
            seed,
            ..options.clone()
        };
        let mut world = World::empty(&options);
        for name in ["one", "two", "three"] {
            let email = format!("{name}@other-account.example");
            let cause = Cause {
                now: options.clock.now(),
                request: None,
                claim: None,
            };
            let _ = Change::take(
                &mut Form::from_pairs([("name", name), ("email", &email)]),
                true,
            )
            .and_then(|change| world.create_customer(change, cause));
        }
        Self {
            world: Mutex::new(world),
            options,
        }
    }
}
