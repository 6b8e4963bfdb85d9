// SPDX-License-Identifier: Apache-2.0
//! Pages that many ask for at once are made once: however fast somebody presses reload, a thousand nodes are
//! rendered at most once a second, and one at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::problem::Fault;

/// Ages on the page are this much behind at most.
const FRESH: Duration = Duration::from_secs(1);

/// A page as it was made last.
#[derive(Debug, Default)]
pub(in crate::http) struct Kept {
    page: Mutex<Option<Page>>,
}

#[derive(Debug)]
struct Page {
    made: Instant,
    version: u64,
    html: Arc<str>,
}

impl Kept {
    /// The page of this version of what it shows: the one that is kept, or the one that `make` makes.
    pub(super) async fn get(
        &self,
        version: u64,
        make: impl Future<Output = Result<String, Fault>>,
    ) -> Result<Arc<str>, Fault> {
        // Whoever asks while it is being made waits for it and takes the same.
        let mut page = self.page.lock().await;
        if let Some(page) = page.as_ref()
            && page.version == version
            && page.made.elapsed() < FRESH
        {
            return Ok(page.html.clone());
        }
        let html: Arc<str> = make.await?.into();
        *page = Some(Page {
            made: Instant::now(),
            version,
            html: html.clone(),
        });
        Ok(html)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_page_that_many_ask_for_is_made_once_for_each_version() {
        let (kept, count) = (Kept::default(), AtomicU32::new(0));
        let make = || async {
            tokio::task::yield_now().await;
            Ok(format!("page {}", count.fetch_add(1, Ordering::Relaxed)))
        };
        let (one, other) = tokio::join!(kept.get(1, make()), kept.get(1, make()));
        assert_eq!((&*one.unwrap(), &*other.unwrap()), ("page 0", "page 0"));
        assert_eq!(&*kept.get(2, make()).await.unwrap(), "page 1");
    }
}
