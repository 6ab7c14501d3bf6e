//! Another account, or the other mode of this one: what a client finds that was given the wrong key.

use std::sync::Mutex;

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::options::Options;
use crate::wire::form::Form;
use crate::world::customer::change::Change;
use crate::world::{Cause, World};

const ACCOUNT: &str = "acct_1SomebodyElses0";
/// Whoever asks the other mode asks with a key of that mode.
const KEYS: [&str; 2] = ["sk_test_other_mode", "sk_live_other_mode"];

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
        Self::with_customers(options)
    }

    /// The same account's other mode.
    pub(crate) fn mode(options: &Options) -> Self {
        let seed = options.seed.map(|seed| seed ^ 0x6f74_6865_726d_6f64);
        Self::with_customers(Options {
            livemode: !options.livemode,
            api_keys: Vec::new(),
            file: None,
            seed,
            ..options.clone()
        })
    }

    /// The request as it is made with a key of this mode.
    pub(crate) fn with_its_key(&self, call: &Call) -> Call {
        let key = KEYS[usize::from(self.options.livemode)];
        Call {
            authorization: Some(format!("Bearer {key}")),
            ..call.clone()
        }
    }

    /// Says of an object that is missing here that the mode which was meant has it.
    pub(crate) fn name_the_other_mode(&self, answer: &mut Answer) {
        let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
            return;
        };
        let message = body["error"]["message"].as_str().unwrap_or_default();
        let (there, key) = match self.options.livemode {
            true => ("test", "live"),
            false => ("live", "test"),
        };
        body["error"]["message"] = format!(
            "{message}; a similar object exists in {there} mode, but a {key} mode key was used to make this request."
        )
        .into();
        answer.body = serde_json::to_vec_pretty(&body).unwrap_or_default().into();
    }

    fn with_customers(options: Options) -> Self {
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
