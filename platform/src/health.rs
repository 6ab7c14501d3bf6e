//! What the process says about itself: each loop reports its beats, and a loop that falls silent
//! shows as stalled.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// All components of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Vec<Component>>>);

/// One loop's or connection's part of it. Clones are the same component.
#[derive(Clone, Debug)]
pub struct Component {
    name: &'static str,
    stalled_after: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    kind: Kind,
    /// When a problem is looked into again.
    next_try: Option<Instant>,
    /// When it got into this kind of state.
    since: Instant,
    beat: Instant,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Starting,
    Ok,
    Idle,
    Problem(String),
}

/// The answer of the readiness check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub components: Vec<ComponentReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentReport {
    pub name: &'static str,
    /// `ok`, `problem`, `stalled` or `starting`
    pub status: &'static str,
    pub detail: Option<String>,
    /// How long it has been so.
    pub since_seconds: u64,
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a component that means to beat at least every `stalled_after`. It is `starting`
    /// until its first beat, and keeps the process from being ready until then.
    pub fn component(&self, name: &'static str, stalled_after: Duration) -> Component {
        let now = now();
        let state = State {
            kind: Kind::Starting,
            next_try: None,
            since: now,
            beat: now,
        };
        let component = Component {
            name,
            stalled_after,
            state: Arc::new(Mutex::new(state)),
        };
        lock(&self.0).push(component.clone());
        component
    }

    /// What every component says at `now`. Ready means that none has a problem, is stalled or still
    /// starts.
    pub fn report(&self, now: Instant) -> Report {
        let components: Vec<_> = lock(&self.0)
            .iter()
            .map(|component| component.report(now))
            .collect();
        Report {
            ready: components.iter().all(|component| component.status == "ok"),
            components,
        }
    }
}

impl Component {
    /// A beat: all is well.
    pub fn ok(&self) {
        self.set(Kind::Ok, None);
    }

    /// A beat in the middle of long work, which says nothing of its end: a problem stays one until `ok`.
    pub fn busy(&self) {
        let has_problem = matches!(lock(&self.state).kind, Kind::Problem(_));
        match has_problem {
            true => lock(&self.state).beat = now(),
            false => self.ok(),
        }
    }

    /// A beat of a loop that runs but can't do its work. `what` is logged when it changes, and
    /// shown until `ok`; it must hold nothing secret.
    pub fn problem(&self, what: impl Into<String>) {
        self.set(Kind::Problem(what.into()), None);
    }

    /// A problem that is looked into again at `next_try`, which is shown and not logged.
    pub fn problem_until(&self, what: impl Into<String>, next_try: Option<tokio::time::Instant>) {
        let next_try = next_try.map(tokio::time::Instant::into_std);
        self.set(Kind::Problem(what.into()), next_try);
    }

    /// No beats are expected until the next one: a standby that waits for its turn. It counts as
    /// ok.
    pub fn idle(&self) {
        self.set(Kind::Idle, None);
    }

    fn set(&self, kind: Kind, next_try: Option<Instant>) {
        let now = now();
        let mut state = lock(&self.state);
        state.beat = now;
        state.next_try = next_try;
        if state.kind == kind {
            return;
        }
        match (&state.kind, &kind) {
            (_, Kind::Problem(what)) => {
                tracing::warn!(component = self.name, "{}: {what}", self.name)
            }
            (Kind::Problem(_), _) => {
                tracing::info!(component = self.name, "{}: works again", self.name)
            }
            _ => {}
        }
        // A problem that only changes its words is still the same trouble.
        if !matches!((&state.kind, &kind), (Kind::Problem(_), Kind::Problem(_))) {
            state.since = now;
        }
        state.kind = kind;
    }

    fn report(&self, now: Instant) -> ComponentReport {
        let state = lock(&self.state);
        let silent = now.saturating_duration_since(state.beat);
        let stalled = state.kind != Kind::Idle && silent > self.stalled_after;
        let (status, detail) = match &state.kind {
            Kind::Problem(what) if !stalled => {
                let wait = state.next_try.map(|at| at.saturating_duration_since(now));
                let detail = match wait.map(|wait| wait.as_secs_f64().ceil()) {
                    Some(seconds) => format!("{what}; next try in {seconds} s"),
                    None => what.clone(),
                };
                ("problem", Some(detail))
            }
            Kind::Problem(what) => ("stalled", Some(format!("no beat; before that: {what}"))),
            _ if stalled => ("stalled", Some("no beat".to_owned())),
            Kind::Starting => ("starting", None),
            Kind::Ok => ("ok", None),
            Kind::Idle => ("ok", Some("standby".to_owned())),
        };
        let since = if stalled { state.beat } else { state.since };
        let since_seconds = now.saturating_duration_since(since).as_secs();
        ComponentReport {
            name: self.name,
            status,
            detail,
            since_seconds,
        }
    }
}

/// Tokio's clock, because tests can stop that one.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    /// Ready, and the first component's status, detail and age.
    fn seen(health: &Health) -> (bool, &'static str, String, u64) {
        let report = health.report(now());
        let first = report.components[0].clone();
        (
            report.ready,
            first.status,
            first.detail.unwrap_or_default(),
            first.since_seconds,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_is_not_ready_until_its_first_beat() {
        let health = Health::new();
        assert!(health.report(now()).ready);
        let component = health.component("relay", LIMIT);
        assert_eq!(seen(&health), (false, "starting", String::new(), 0));
        pass(2).await;
        component.ok();
        pass(3).await;
        assert_eq!(seen(&health), (true, "ok", String::new(), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_falls_silent_is_stalled_and_recovers_with_a_beat() {
        let health = Health::new();
        let component = health.component("relay", LIMIT);
        component.ok();
        pass(10).await;
        assert!(seen(&health).0, "it is silent just as long as it may be");
        pass(1).await;
        assert_eq!(seen(&health), (false, "stalled", "no beat".to_owned(), 11));
        component.ok();
        assert!(seen(&health).0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_busy_is_not_stalled_and_keeps_its_problem() {
        let health = Health::new();
        let component = health.component("scan", LIMIT);
        component.busy();
        assert_eq!(seen(&health).1, "ok");
        component.problem("no answer");
        pass(9).await;
        component.busy();
        pass(9).await;
        assert_eq!(
            seen(&health),
            (false, "problem", "no answer".to_owned(), 18)
        );
        pass(2).await;
        assert_eq!(seen(&health).1, "stalled");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_started_is_stalled_in_the_end() {
        let health = Health::new();
        let _component = health.component("relay", LIMIT);
        pass(11).await;
        assert_eq!(seen(&health).1, "stalled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_shows_its_latest_words_and_how_long_there_has_been_one() {
        let health = Health::new();
        let component = health.component("relay", LIMIT);
        component.ok();
        component.problem("the broker is away");
        pass(5).await;
        component.problem("the broker refuses");
        assert_eq!(
            seen(&health),
            (false, "problem", "the broker refuses".to_owned(), 5)
        );
        pass(11).await;
        let (_, status, detail, _) = seen(&health);
        assert_eq!(status, "stalled");
        assert!(detail.contains("the broker refuses"), "{detail}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_that_is_looked_into_again_says_when() {
        let health = Health::new();
        let component = health.component("relay", LIMIT);
        let next_try = tokio::time::Instant::now() + Duration::from_secs(7);
        component.problem_until("the broker is away", Some(next_try));
        pass(3).await;
        assert_eq!(seen(&health).2, "the broker is away; next try in 4 s");
        pass(6).await;
        assert_eq!(seen(&health).2, "the broker is away; next try in 0 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_standby_may_be_silent_for_ever() {
        let health = Health::new();
        let component = health.component("relay", LIMIT);
        component.idle();
        pass(1000).await;
        assert_eq!(seen(&health), (true, "ok", "standby".to_owned(), 1000));
        component.ok();
        pass(11).await;
        assert_eq!(seen(&health).1, "stalled");
    }

    #[tokio::test(start_paused = true)]
    async fn one_component_in_trouble_is_enough() {
        let health = Health::new();
        health.component("api", LIMIT).ok();
        health
            .component("relay", LIMIT)
            .problem("the broker is away");
        let report = health.report(now());
        let text = serde_json::to_value(&report).unwrap();
        let away = "the broker is away";
        assert_eq!(
            text,
            serde_json::json!({"ready": false, "components": [
                {"name": "api", "status": "ok", "detail": null, "since_seconds": 0},
                {"name": "relay", "status": "problem", "detail": away, "since_seconds": 0},
            ]})
        );
    }
}
