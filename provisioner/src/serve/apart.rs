// SPDX-License-Identifier: Apache-2.0
//! A thread of its own for an edge: its packets do not stand in line behind what the API has to do, and nothing has to
//! be woken up beside it.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Runs `edge` on a thread of its own, with a runtime of its own; dropping this future stops it.
pub(super) async fn apart(name: &'static str, edge: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    let stop = CancellationToken::new();
    let _stop_with_this = stop.clone().drop_guard();
    let (ended, end) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(stop.run_until_cancelled(edge)),
            Err(error) => Some(Err(error.into())),
        };
        // Without an outcome nobody waits for one.
        let _ = outcome.map(|outcome| ended.send(outcome));
    };
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.with_context(|| format!("starting the thread of {name}"))?;
    end.await.with_context(|| format!("the thread of {name} crashed"))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn what_an_edge_says_at_its_end_is_heard() {
        let ended = apart("test", async { bail!("no more") }).await;
        assert_eq!(ended.unwrap_err().to_string(), "no more");
    }

    #[tokio::test]
    async fn an_edge_ends_with_the_future_that_runs_it() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let (tell, told) = oneshot::channel();
        let edge = async move {
            let _ = tell.send(());
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        };
        let running = tokio::spawn(apart("test", edge));
        told.await.unwrap();
        running.abort();
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
