//! A count that takes long, made beside those who look at it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What was counted last. While one counts, and for a time after that, the others are shown what there is.
#[derive(Debug)]
pub struct Counted<T> {
    every: Duration,
    known: Arc<Mutex<Option<(T, Instant)>>>,
    /// Held by who counts.
    counting: Arc<tokio::sync::Mutex<()>>,
}

impl<T: Copy + Send + 'static> Counted<T> {
    /// Nothing was counted yet; a count is good for `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, known: Arc::default(), counting: Arc::default() }
    }

    /// What was counted last, at once; when it is old, it is counted again on the pool for who comes next. Only the first
    /// who comes waits. `None` as long as no count has succeeded.
    pub async fn last(&self, count: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.is_none_or(|(_, at)| at.elapsed() >= self.every);
        if old && let Ok(counting) = self.counting.clone().try_lock_owned() {
            let known = self.known.clone();
            let counted = tokio::task::spawn_blocking(move || {
                if let Some(count) = count() {
                    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some((count, Instant::now()));
                }
                drop(counting);
            });
            if self.known.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                let _ = counted.await;
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).map(|(count, _)| count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn it_is_counted_once_in_its_time() {
        let counted = Counted::new(Duration::from_secs(3_600));
        assert_eq!(counted.last(|| None).await, None, "a count that failed is none");
        assert_eq!(counted.last(|| Some(1)).await, Some(1), "who comes first waits");
        assert_eq!(counted.last(|| unreachable!()).await, Some(1));
    }

    #[tokio::test]
    async fn who_looks_at_an_old_count_starts_another_and_does_not_wait_for_it() {
        let counted = Counted::new(Duration::ZERO);
        assert_eq!(counted.last(|| Some(1)).await, Some(1));
        let (go, wait) = mpsc::channel();
        let slow = move || {
            wait.recv().unwrap();
            Some(2)
        };
        assert_eq!(counted.last(slow).await, Some(1));
        assert_eq!(counted.last(|| unreachable!()).await, Some(1), "one counts at a time");
        go.send(()).unwrap();
        let _counting = counted.counting.lock().await;
        assert_eq!(counted.known.lock().unwrap().unwrap().0, 2);
    }
}
