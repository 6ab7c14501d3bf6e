//! The health of a process, part by part: each loop reports its beats and its problems, and a loop that falls silent
//! is reported as stalled.
//!
//! A problem ends by a success of what had failed, and by nothing else: a cycle with nothing to do is a beat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

pub use attempt::Attempt;

mod attempt;

/// All components of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Health {
    components: Arc<Mutex<Vec<Component>>>,
    changed: watch::Sender<()>,
    parent: Option<Box<Health>>,
}

/// One loop's or connection's part of it. Clones are the same component.
#[derive(Clone, Debug)]
pub struct Component {
    name: &'static str,
    stalled_after: Duration,
    is_required: bool,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

/// What a component can fail at, independently of its other causes. Clones are the same cause.
#[derive(Clone, Debug)]
pub struct Cause {
    component: Component,
    name: &'static str,
}

/// What is wrong. It must hold nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Option<&'static str>,
    detail: String,
    /// When it is tried again; reported, and not logged.
    next_try: Option<Instant>,
    is_logged: bool,
}

/// A cause that keeps failing is logged at most so often, unless it fails by another code.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct State {
    kind: Kind,
    /// When it got into its present kind of state.
    since: Instant,
    beat: Instant,
    failures: BTreeMap<&'static str, Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Starting,
    Ok,
    Idle,
}

#[derive(Debug)]
struct Failure {
    problem: Problem,
    since: Instant,
    /// Attempts that have failed and still go on.
    attempts: usize,
    logged: Option<Logged>,
}

/// The last line that a failure has in the log.
#[derive(Clone, Debug)]
struct Logged {
    at: Instant,
    code: Option<&'static str>,
    detail: String,
}

impl Logged {
    /// Whether a problem needs another line.
    fn is_outdated_by(&self, problem: &Problem, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.at) >= LOG_INTERVAL;
        self.detail != problem.detail && (is_due || self.code != problem.code)
    }
}

/// The answer of the readiness check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub ready: bool,
    /// Whether a part that is not required has a problem.
    pub degraded: bool,
    pub components: Vec<ComponentReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentReport {
    pub name: &'static str,
    /// `ok`, `problem`, `stalled` or `starting`; `degraded` instead of the last three if the process is ready without it
    pub status: &'static str,
    pub detail: Option<String>,
    /// How long it has been so.
    pub since_seconds: u64,
}

/// A problem of a component, for a record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    pub component: &'static str,
    pub code: Option<&'static str>,
    pub detail: String,
    pub since: Instant,
    pub next_try: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            components: Arc::default(),
            changed: watch::Sender::new(()),
            parent: None,
        }
    }
}

impl Health {
    pub fn new() -> Self {
        Self::default()
    }

    /// A group of components, which belong to `self` as well: what one service of a process reports.
    pub fn section(&self) -> Self {
        Self {
            parent: Some(Box::new(self.clone())),
            ..Self::default()
        }
    }

    /// Declares a component that means to beat at least every `stalled_after`. It is `starting`
    /// until its first beat, and keeps the process from being ready until then.
    pub fn component(&self, name: &'static str, stalled_after: Duration) -> Component {
        self.declare(name, stalled_after, true)
    }

    /// The same, but the process is ready without it.
    pub fn optional(&self, name: &'static str, stalled_after: Duration) -> Component {
        self.declare(name, stalled_after, false)
    }

    fn declare(&self, name: &'static str, stalled_after: Duration, is_required: bool) -> Component {
        let now = now();
        let state = State {
            kind: Kind::Starting,
            since: now,
            beat: now,
            failures: BTreeMap::new(),
        };
        let component = Component {
            name,
            stalled_after,
            is_required,
            state: Arc::new(Mutex::new(state)),
            changed: self.changed.clone(),
        };
        self.add(&component);
        component
    }

    fn add(&self, component: &Component) {
        lock(&self.components).push(component.clone());
        if let Some(parent) = &self.parent {
            parent.add(component);
        }
    }

    /// What every component reports at `now`. Ready means that none that is required has a problem, is stalled or
    /// still starts.
    pub fn report(&self, now: Instant) -> Report {
        let mut report = Report {
            ready: true,
            degraded: false,
            components: Vec::new(),
        };
        for component in lock(&self.components).iter() {
            let one = component.report(now);
            let is_ok = one.status == "ok";
            report.ready &= is_ok || !component.is_required;
            report.degraded |= !is_ok && !component.is_required;
            report.components.push(one);
        }
        report
    }

    /// The problems at `now`, stalled components included.
    pub fn problems(&self, now: Instant) -> Vec<Reported> {
        let components = lock(&self.components);
        let problems = components.iter().flat_map(|one| one.problems(now));
        problems.collect()
    }

    /// Resolves at each change of a problem of this section's own components.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Problem {
    pub fn new(detail: impl Into<String>) -> Self {
        Self {
            code: None,
            detail: detail.into(),
            next_try: None,
            is_logged: true,
        }
    }

    /// Without a line in the log, because another component or process logs the same.
    pub fn unlogged(self) -> Self {
        Self {
            is_logged: false,
            ..self
        }
    }

    /// A stable word for it, for programs.
    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    pub fn next_try(self, next_try: Option<tokio::time::Instant>) -> Self {
        Self {
            next_try: next_try.map(tokio::time::Instant::into_std),
            ..self
        }
    }
}

impl<Text: Into<String>> From<Text> for Problem {
    fn from(detail: Text) -> Self {
        Self::new(detail)
    }
}

/// The cause of a component that names none.
const ITSELF: &str = "";

impl Component {
    /// A success of the component's own work. Problems by a [`Cause`] stay.
    pub fn ok(&self) {
        self.end(ITSELF, |_| true);
    }

    /// A beat that proves nothing: of a cycle with nothing to do, or in the middle of long work. A problem stays one.
    pub fn beat(&self) {
        self.change(|state, now| state.beat(now));
    }

    /// A beat of a loop that runs but can't do its work. The problem is logged when it changes, at most once a minute,
    /// and reported until `ok`.
    pub fn problem(&self, problem: impl Into<Problem>) {
        self.fail(ITSELF, problem.into(), 0);
    }

    /// No beats are expected until the next one: a standby that waits for its turn. It counts as
    /// ok, and its problems are another one's from now on.
    pub fn idle(&self) {
        self.change(|state, now| {
            state.enter(Kind::Idle, now);
            state.beat = now;
            state.failures.clear();
        });
    }

    /// What can fail apart from the rest.
    pub fn cause(&self, name: &'static str) -> Cause {
        Cause {
            component: self.clone(),
            name,
        }
    }

    fn fail(&self, cause: &'static str, problem: Problem, attempts: usize) {
        self.change(|state, now| {
            state.beat = now;
            let known = state.failures.get(cause);
            let mut logged = known.and_then(|known| known.logged.clone());
            let is_news = logged
                .as_ref()
                .is_none_or(|logged| logged.is_outdated_by(&problem, now));
            if problem.is_logged && is_news {
                tracing::warn!(component = self.name, "{}: {}", self.name, problem.detail);
                logged = Some(Logged {
                    at: now,
                    code: problem.code,
                    detail: problem.detail.clone(),
                });
            }
            // A problem that only changes its words is still the same trouble.
            let failure = Failure {
                problem,
                since: known.map_or(now, |known| known.since),
                attempts: known.map_or(0, |known| known.attempts) + attempts,
                logged,
            };
            state.failures.insert(cause, failure);
        });
    }

    /// A beat, and the end of a cause's problem if `is_over`.
    fn end(&self, cause: &'static str, is_over: impl FnOnce(&mut Failure) -> bool) {
        self.change(|state, now| {
            if state.failures.get_mut(cause).is_some_and(is_over) {
                let ended = state.failures.remove(cause);
                if state.failures.is_empty() {
                    state.enter(Kind::Ok, now);
                    state.since = now;
                }
                if ended.is_some_and(|ended| ended.logged.is_some()) {
                    tracing::info!(component = self.name, "{}: works again", self.name);
                }
            }
            state.beat(now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State, Instant)) {
        let mut state = lock(&self.state);
        let before = state.told();
        change(&mut state, now());
        let is_news = state.told() != before;
        drop(state);
        if is_news {
            self.changed.send_replace(());
        }
    }

    fn report(&self, now: Instant) -> ComponentReport {
        let state = lock(&self.state);
        let problem = state.first();
        let text = || {
            let texts = state.failures.values().map(|one| one.problem.text(now));
            texts.collect::<Vec<_>>().join("; ")
        };
        let (status, detail) = match state.kind {
            _ if self.is_stalled(&state, now) => match problem {
                Some(_) => ("stalled", Some(format!("no beat; before that: {}", text()))),
                None => ("stalled", Some("no beat".to_owned())),
            },
            _ if problem.is_some() => ("problem", Some(text())),
            Kind::Starting => ("starting", None),
            Kind::Ok => ("ok", None),
            Kind::Idle => ("ok", Some("standby".to_owned())),
        };
        let since = match problem {
            _ if status == "stalled" => state.beat,
            Some(failure) => failure.since,
            None => state.since,
        };
        let status = match status {
            "ok" => status,
            _ if self.is_required => status,
            _ => "degraded",
        };
        ComponentReport {
            name: self.name,
            status,
            detail,
            since_seconds: now.saturating_duration_since(since).as_secs(),
        }
    }

    fn problems(&self, now: Instant) -> Vec<Reported> {
        let state = lock(&self.state);
        let of = |failure: &Failure| Reported {
            component: self.name,
            code: failure.problem.code,
            detail: failure.problem.detail.clone(),
            since: failure.since,
            next_try: failure.problem.next_try,
        };
        let mut problems: Vec<_> = state.failures.values().map(of).collect();
        if problems.is_empty() && self.is_stalled(&state, now) {
            problems.push(Reported {
                component: self.name,
                code: Some("stalled"),
                detail: "no beat".to_owned(),
                since: state.beat,
                next_try: None,
            });
        }
        problems
    }

    fn is_stalled(&self, state: &State, now: Instant) -> bool {
        let silent = now.saturating_duration_since(state.beat);
        (state.kind != Kind::Idle || !state.failures.is_empty()) && silent > self.stalled_after
    }
}

impl Cause {
    /// This has failed; it is reported until it has succeeded.
    pub fn problem(&self, problem: impl Into<Problem>) {
        self.component.fail(self.name, problem.into(), 0);
    }

    /// This has succeeded.
    pub fn solved(&self) {
        self.component.end(self.name, |_| true);
    }

    pub fn has_problem(&self) -> bool {
        lock(&self.component.state).failures.contains_key(self.name)
    }

    /// Work that may fail several times before it succeeds, beside other work of the same kind.
    pub fn attempt(&self) -> Attempt {
        Attempt::new(self.clone())
    }
}

impl Problem {
    fn text(&self, now: Instant) -> String {
        match self.next_try {
            Some(at) => {
                let wait = at.saturating_duration_since(now).as_secs_f64().ceil();
                format!("{}; next try in {wait} s", self.detail)
            }
            None => self.detail.clone(),
        }
    }
}

impl State {
    fn beat(&mut self, now: Instant) {
        self.beat = now;
        if self.failures.is_empty() {
            self.enter(Kind::Ok, now);
        }
    }

    fn enter(&mut self, kind: Kind, now: Instant) {
        if self.kind != kind || !self.failures.is_empty() {
            self.since = now;
        }
        self.kind = kind;
    }

    /// The problem that is the oldest.
    fn first(&self) -> Option<&Failure> {
        self.failures.values().min_by_key(|failure| failure.since)
    }

    fn told(&self) -> Vec<Problem> {
        let problems = self.failures.values().map(|one| one.problem.clone());
        problems.collect()
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
mod tests;
