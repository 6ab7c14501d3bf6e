//! Runs the tasks of a process. A signal stops them all and lets them finish; one that ends early
//! takes the process down.

use std::collections::HashMap;
use std::future::{self, Future};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// The tasks of a process, and the token that stops them. Dropping it aborts them.
pub struct Supervisor {
    grace: Duration,
    stop: CancellationToken,
    /// Stops those tasks that outlive the others.
    end: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    running: HashMap<Id, Running>,
}

#[derive(Clone, Copy)]
struct Running {
    name: &'static str,
    is_last: bool,
}

impl Supervisor {
    /// `grace` is how long the tasks may take to finish once they are told to stop.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Starts a process and runs it until a signal; what `start` returns is kept until the end. A signal during
    /// `start` drops it at its next await, with the tasks that it has spawned, and ends the process.
    ///
    /// # Errors
    /// When `start` fails, and those of [`Supervisor::run`].
    pub async fn run_program<T>(
        grace: Duration,
        start: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        Self::run_program_until(grace, signals()?, start).await
    }

    async fn run_program_until<T>(
        grace: Duration,
        signals: impl Stream<Item = ()>,
        start: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<()> {
        let mut signals = pin!(signals);
        let mut supervisor = Self::new(grace);
        let started = tokio::select! {
            biased;
            _ = signals.next() => None,
            started = Box::pin(start(&mut supervisor)) => Some(started?),
        };
        let Some(_kept) = started else {
            tracing::info!("stopped by a signal before the start was complete");
            return Ok(());
        };
        supervisor.supervise(signals).await
    }

    /// The token that every task watches. Whoever cancels it stops the process as a signal does.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task, which is to run until the token is cancelled.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.add(name, false, task);
    }

    /// Starts a task that outlives the others, such as the server of health checks. It is to run until its token is
    /// cancelled, which happens once the others have ended.
    pub fn spawn_last<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let task = task(self.end.clone());
        self.add(name, true, task);
    }

    fn add(
        &mut self,
        name: &'static str,
        is_last: bool,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(task);
        self.running.insert(handle.id(), Running { name, is_last });
    }

    /// Runs until SIGINT or SIGTERM, then cancels the token and waits for the tasks, up to the
    /// grace period.
    ///
    /// # Errors
    /// When a task ended before it was told to (with or without an error), when one failed or
    /// panicked, when the tasks outlived the grace period, or when a second signal ended the wait.
    /// Tasks that still run are aborted then.
    pub async fn run(self) -> anyhow::Result<()> {
        self.supervise(signals()?).await
    }

    /// `run`, with a future in the place of the first signal, for tests.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> anyhow::Result<()> {
        self.supervise(stream::once(signal).chain(stream::pending()))
            .await
    }

    async fn supervise(mut self, signals: impl Stream<Item = ()>) -> anyhow::Result<()> {
        let mut signals = pin!(signals);
        let stop = self.stop.clone();
        let ran = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            _ = signals.next() => Ok(()),
            (name, result) = self.next() => Err(match result {
                Ok(()) => anyhow!("{name} ended although nobody asked it to"),
                Err(error) => error.context(format!("{name} failed")),
            }),
        };
        stop.cancel();
        tracing::info!(grace_seconds = self.grace.as_secs(), "stopping");
        let grace = self.grace;
        let drained = tokio::select! {
            drained = self.drain() => drained,
            () = tokio::time::sleep(grace) => {
                let running = self.running();
                Err(anyhow!("still running {grace:?} after they were told to stop: {running}"))
            }
            Some(()) = signals.next() => {
                let running = self.running();
                Err(anyhow!("ended by a second signal while these ran: {running}"))
            }
        };
        ran.and(drained)
    }

    /// The next task to end. Never resolves when there is none.
    async fn next(&mut self) -> (&'static str, anyhow::Result<()>) {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return future::pending().await;
        };
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(anyhow::Error::new(error))),
        };
        let name = self.running.remove(&id).map_or("a task", |task| task.name);
        (name, result)
    }

    /// Waits for all tasks; the first failure is the answer, and every failure is logged.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while !self.tasks.is_empty() {
            if self.running.values().all(|task| task.is_last) {
                self.end.cancel();
            }
            let (name, result) = self.next().await;
            if let Err(error) = result {
                tracing::error!(task = name, "{name} failed while stopping: {error:#}");
                first = first.and(Err(error.context(format!("{name} failed while stopping"))));
            }
        }
        first
    }

    fn running(&self) -> String {
        let mut names: Vec<_> = self.running.values().map(|task| task.name).collect();
        names.sort_unstable();
        names.join(", ")
    }
}

/// One item for each SIGINT or SIGTERM.
#[cfg(unix)]
fn signals() -> anyhow::Result<impl Stream<Item = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    Ok(stream::poll_fn(move |context| {
        if interrupt.poll_recv(context).is_ready() || terminate.poll_recv(context).is_ready() {
            return std::task::Poll::Ready(Some(()));
        }
        std::task::Poll::Pending
    }))
}

#[cfg(not(unix))]
fn signals() -> anyhow::Result<impl Stream<Item = ()>> {
    Ok(stream::unfold((), |()| async {
        tokio::signal::ctrl_c().await.ok().map(|()| ((), ()))
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    async fn never() {
        future::pending().await
    }

    /// Ends when it is told to, after `extra`.
    async fn obedient(stop: CancellationToken, extra: Duration) -> anyhow::Result<()> {
        stop.cancelled().await;
        tokio::time::sleep(extra).await;
        Ok(())
    }

    /// Says when it is dropped, which is what being aborted is.
    struct Flag(Arc<AtomicBool>);

    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_stops_the_tasks_and_waits_for_them() {
        let mut supervisor = Supervisor::new(GRACE);
        supervisor.spawn("quick", obedient(supervisor.stop(), Duration::ZERO));
        supervisor.spawn("slow", obedient(supervisor.stop(), GRACE / 2));
        let started = tokio::time::Instant::now();
        supervisor
            .run_until(tokio::time::sleep(Duration::from_secs(1)))
            .await
            .unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(1) + GRACE / 2);
    }

    fn once(signal: impl Future<Output = ()>) -> impl Stream<Item = ()> {
        stream::once(signal).chain(stream::pending())
    }

    #[tokio::test(start_paused = true)]
    async fn signal_ends_a_start_that_waits() {
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = dropped.clone();
        let start = async move |supervisor: &mut Supervisor| {
            supervisor.spawn("task", async move {
                let _flag = Flag(flag);
                never().await;
                Ok(())
            });
            never().await;
            Ok(())
        };
        let signal = once(tokio::time::sleep(Duration::from_secs(1)));
        let begun = tokio::time::Instant::now();
        Supervisor::run_program_until(GRACE, signal, start)
            .await
            .unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        tokio::task::yield_now().await;
        assert!(dropped.load(Ordering::SeqCst), "its tasks are aborted");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_started_is_kept_until_the_tasks_ended() {
        let dropped = Arc::new(AtomicBool::new(false));
        let (kept, seen) = (Flag(dropped.clone()), dropped.clone());
        let start = async move |supervisor: &mut Supervisor| {
            let stop = supervisor.stop();
            supervisor.spawn("task", async move {
                obedient(stop, GRACE / 2).await?;
                assert!(!seen.load(Ordering::SeqCst));
                Ok(())
            });
            Ok(kept)
        };
        let signal = once(tokio::time::sleep(Duration::from_secs(1)));
        Supervisor::run_program_until(GRACE, signal, start)
            .await
            .unwrap();
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn last_task_ends_after_the_others() {
        let mut supervisor = Supervisor::new(GRACE);
        let others = Arc::new(AtomicBool::new(false));
        let (ended, seen) = (others.clone(), others);
        let stop = supervisor.stop();
        supervisor.spawn("other", async move {
            obedient(stop, GRACE / 2).await?;
            ended.store(true, Ordering::SeqCst);
            Ok(())
        });
        supervisor.spawn_last("last", |end| async move {
            end.cancelled().await;
            assert!(seen.load(Ordering::SeqCst));
            Ok(())
        });
        supervisor
            .run_until(tokio::time::sleep(Duration::from_secs(1)))
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_the_token_stops_it_as_a_signal_does() {
        let mut supervisor = Supervisor::new(GRACE);
        let stop = supervisor.stop();
        supervisor.spawn("task", obedient(supervisor.stop(), Duration::ZERO));
        supervisor.spawn("stopper", async move {
            stop.cancel();
            Ok(())
        });
        supervisor.run_until(never()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_takes_the_others_with_it() {
        for failed in [false, true] {
            let mut supervisor = Supervisor::new(GRACE);
            supervisor.spawn("relay", async move {
                anyhow::ensure!(!failed, "the disk is full");
                Ok(())
            });
            let stop = supervisor.stop();
            supervisor.spawn("api", obedient(supervisor.stop(), Duration::ZERO));
            let error = format!("{:#}", supervisor.run_until(never()).await.unwrap_err());
            assert!(error.contains("relay"), "{error}");
            assert_eq!(error.contains("the disk is full"), failed, "{error}");
            assert!(stop.is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure_with_the_task_s_name() {
        let mut supervisor = Supervisor::new(GRACE);
        supervisor.spawn("relay", async { panic!("a test panics") });
        let error = format!("{:#}", supervisor.run_until(never()).await.unwrap_err());
        assert!(
            error.contains("relay") && error.contains("panicked"),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_aborted_after_the_grace_period() {
        let aborted = Arc::new(AtomicBool::new(false));
        let flag = Flag(Arc::clone(&aborted));
        let mut supervisor = Supervisor::new(GRACE);
        supervisor.spawn("deaf", async move {
            let _flag = flag;
            never().await;
            Ok(())
        });
        supervisor.spawn("obedient", obedient(supervisor.stop(), Duration::ZERO));
        let started = tokio::time::Instant::now();
        let error = supervisor
            .run_until(async {})
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(started.elapsed(), GRACE);
        assert!(
            error.contains("deaf") && !error.contains("obedient"),
            "{error}"
        );
        tokio::task::yield_now().await;
        assert!(aborted.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_it_at_once() {
        let mut supervisor = Supervisor::new(GRACE);
        supervisor.spawn("deaf", async {
            never().await;
            Ok(())
        });
        let signals = stream::iter([(), ()]).chain(stream::pending());
        let started = tokio::time::Instant::now();
        let error = supervisor.supervise(signals).await.unwrap_err().to_string();
        assert!(
            error.contains("second signal") && error.contains("deaf"),
            "{error}"
        );
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_stopping_is_an_error() {
        let mut supervisor = Supervisor::new(GRACE);
        let stop = supervisor.stop();
        supervisor.spawn("relay", async move {
            stop.cancelled().await;
            anyhow::bail!("the last batch is lost")
        });
        let error = format!("{:#}", supervisor.run_until(async {}).await.unwrap_err());
        assert!(
            error.contains("relay") && error.contains("the last batch"),
            "{error}"
        );
    }
}
