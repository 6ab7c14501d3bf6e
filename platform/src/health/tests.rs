//! Facts about beats and problems.

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
async fn silent_component_is_stalled_until_its_next_heartbeat() {
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
async fn beat_without_success_keeps_problem() {
    let health = Health::new();
    let component = health.component("scan", LIMIT);
    component.beat();
    assert_eq!(seen(&health).1, "ok");
    component.problem("no answer");
    pass(9).await;
    component.beat();
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
async fn problem_shows_its_latest_text_and_first_time() {
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
    component.problem(Problem::new("the broker is away").next_try(Some(next_try)));
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
        serde_json::json!({"ready": false, "degraded": false, "components": [
            {"name": "api", "status": "ok", "detail": null, "since_seconds": 0},
            {"name": "relay", "status": "problem", "detail": away, "since_seconds": 0},
        ]})
    );
}

#[tokio::test(start_paused = true)]
async fn optional_component_degrades_and_stays_ready() {
    let health = Health::new();
    health.component("database", LIMIT).ok();
    let workers = health.optional("workers", LIMIT);
    let report = || {
        let report = health.report(now());
        (report.ready, report.degraded)
    };
    assert_eq!(report(), (true, true), "it has not reported yet");
    workers.ok();
    assert_eq!(report(), (true, false));
    workers.problem("no worker is alive");
    assert_eq!(report(), (true, true));
    assert_eq!(health.report(now()).components[1].status, "degraded");
    health.component("relay", LIMIT).problem("away");
    assert_eq!(report(), (false, true));
}

#[tokio::test(start_paused = true)]
async fn problem_ends_by_success_of_its_own_cause_only() {
    let health = Health::new();
    let component = health.component("scan", LIMIT);
    let (events, pass) = (component.cause("events"), component.cause("pass"));
    events.problem("events cannot be read");
    pass.problem(Problem::new("refused").code("refused"));
    pass.solved();
    component.ok();
    component.beat();
    assert_eq!(seen(&health).2, "events cannot be read");
    assert!(!seen(&health).0 && events.has_problem());
    let reported = health.problems(now());
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].detail, "events cannot be read");
    events.solved();
    assert!(seen(&health).0);
}

#[tokio::test(start_paused = true)]
async fn standby_drops_problems_of_its_former_work() {
    let health = Health::new();
    let component = health.component("scan", LIMIT);
    component.cause("events").problem("events cannot be read");
    component.idle();
    assert_eq!(seen(&health), (true, "ok", "standby".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn section_reports_its_own_components_to_its_parent() {
    let health = Health::new();
    health.component("api", LIMIT).ok();
    let section = health.section();
    let mut changes = section.changes();
    let worker = section.component("upsync", LIMIT);
    worker.problem("refused");
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    worker.problem("refused");
    assert!(
        !changes.has_changed().unwrap(),
        "the same problem is no news"
    );
    assert_eq!(section.report(now()).components.len(), 1);
    assert_eq!(health.report(now()).components.len(), 2);
    assert_eq!(section.problems(now())[0].component, "upsync");
    pass(11).await;
    worker.ok();
    pass(11).await;
    assert_eq!(section.problems(now())[0].code, Some("stalled"));
}

#[tokio::test(start_paused = true)]
async fn failed_attempt_is_a_problem_until_it_succeeds() {
    let health = Health::new();
    let component = health.component("upsync", LIMIT);
    let work = component.cause("work");
    let (mut one, mut other) = (work.attempt(), work.attempt());
    one.failed("cannot be stored");
    other.failed("cannot be stored");
    other.succeeded();
    // Work that did not fail says nothing about the one that does.
    work.attempt().succeeded();
    assert!(work.has_problem());
    drop(one);
    assert!(work.has_problem(), "it was given up");
    work.attempt().succeeded();
    assert!(!work.has_problem());
}

/// The lines that `events` write to the log.
fn logged(events: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, events);
    let text = String::from_utf8(lock(&lines.0).clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Without waiting: the clock is tokio's.
fn advance(seconds: u64) {
    let advance = pass(seconds);
    futures_util::FutureExt::now_or_never(advance);
}

#[tokio::test(start_paused = true)]
async fn problem_that_changes_its_words_is_logged_once_a_minute() {
    let component = Health::new().component("pushes", LIMIT);
    let lines = logged(|| {
        for second in 0..120 {
            let detail = format!("the key is refused, request {second}");
            component.problem(Problem::new(detail).code("key_refused"));
            advance(1);
        }
        component.problem(Problem::new("another account").code("other_account"));
        component.ok();
    });
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("request 60"), "{lines:?}");
    assert!(lines[2].contains("another account"), "{lines:?}");
    assert!(lines[3].contains("works again"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn problem_that_another_component_logs_is_only_reported() {
    let health = Health::new();
    let component = health.component("scan", LIMIT);
    let lines = logged(|| {
        component.problem(Problem::new("the key is refused").unlogged());
        assert_eq!(seen(&health).2, "the key is refused");
        component.ok();
    });
    assert_eq!(lines, [] as [String; 0]);
}
