//! Panics as errors: what panics fails by itself, and takes neither its task nor the process with it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// Something has panicked. The panic's own text is on stderr, and may quote data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked; stderr says where")]
pub struct Panicked;

/// Runs one item, or one round of a loop. A panic in it is its failure.
///
/// What it holds is dropped as on any other error: transactions are rolled back, messages go back to the broker.
///
/// # Errors
/// Those of the work, and [`Panicked`].
pub async fn caught<T, E>(work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => {
            metrics::counter!("panics_total").increment(1);
            tracing::error!("a panic was caught; what panicked counts as failed");
            Err(Panicked.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_an_error_of_the_work() {
        let text = String::from("bob@x.com");
        let work = async {
            if !text.is_empty() {
                panic!("{text}");
            }
            Ok::<(), anyhow::Error>(())
        };
        let error = caught(work).await.unwrap_err();
        assert!(error.downcast_ref::<Panicked>().is_some());
        assert!(!format!("{error:#}").contains("bob"));
    }

    #[tokio::test]
    async fn work_without_a_panic_keeps_its_result() {
        assert_eq!(caught(async { Ok::<_, Panicked>(7) }).await.unwrap(), 7);
        let failed = caught(async { Err::<(), _>(anyhow::anyhow!("away")) }).await;
        assert_eq!(failed.unwrap_err().to_string(), "away");
    }
}
