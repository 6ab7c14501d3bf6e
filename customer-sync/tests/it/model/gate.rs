//! Where the steps of the code stand still until the model lets one of them go on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use platform::steps::{Place, Script};

/// The one place that the step which runs has reached. Only one runs at a time, so one is enough.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    reached: Option<Place>,
    is_open: bool,
}

struct Stand {
    gate: Gate,
    place: Place,
    has_entered: bool,
}

impl Gate {
    /// Lets the step that is polled next leave its place.
    pub(super) fn open(&self) {
        self.with(|state| state.is_open = true);
    }

    /// Nobody has gone through: the step ended, or was dropped.
    pub(super) fn close(&self) {
        self.with(|state| *state = State::default());
    }

    /// Resolves in the poll in which the step that was polled before it has reached a place.
    pub(super) async fn reached(&self) -> Place {
        poll_fn(|_| match self.with(|state| state.reached.take()) {
            Some(place) => Poll::Ready(place),
            None => Poll::Pending,
        })
        .await
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Script for Gate {
    fn reach(&self, place: Place) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Stand {
            gate: self.clone(),
            place,
            has_entered: false,
        })
    }
}

impl Future for Stand {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if !self.has_entered {
            self.has_entered = true;
            let place = self.place;
            let before = self.gate.with(|state| state.reached.replace(place));
            assert_eq!(before, None, "two steps run at a time");
            return Poll::Pending;
        }
        // Nobody is woken: the model polls a step when it lets it go on.
        match self.gate.with(|state| std::mem::take(&mut state.is_open)) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
