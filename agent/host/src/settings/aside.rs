//! Work that cannot be interrupted, run where it does no harm.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::Duration,
};

use pintle_core::plugin::{Fault, Limit};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::fault;

/// The size of the stack in bytes; only what is used takes memory. Schemas nest, and the code that handles them is recursive.
const STACK: usize = 32 << 20;

/// Runs work on a separate thread and waits for it up to `time`. Work that takes longer is left behind and keeps its turn.
///
/// The thread does not belong to the runtime. A runtime that shuts down waits for its own threads, and so would anyone who waits
/// for the program to end.
pub(super) async fn run<T: Send + 'static>(
    turn: &Arc<Semaphore>,
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let done = async {
        let turn = Arc::clone(turn).acquire_owned().await;
        let turn = turn.expect("never closed");
        let (tell, told) = oneshot::channel();
        let work = move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(work));
            drop(turn);
            // The caller may have left.
            let _ = tell.send(outcome);
        };
        thread::Builder::new()
            .name("plugin-settings".to_owned())
            .stack_size(STACK)
            .spawn(work)
            .map_err(|error| Fault::Unavailable {
                reason: format!("there is no thread to check settings on: {error}"),
                retry_after: Some(Duration::from_secs(1)),
            })?;
        let outcome = told.await.expect("told even after a panic");
        outcome.map_err(|panic| fault::panicked(&*panic))
    };
    match timeout(time, done).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::Limit(Limit::Time(time))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const AMPLE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_takes_too_long_is_left_behind_and_keeps_its_turn() {
        let turn = Arc::new(Semaphore::new(1));
        let (end, ended) = mpsc::channel::<()>();
        let short = Duration::from_millis(20);
        let outcome = run(&turn, short, move || ended.recv().is_ok()).await;
        assert_eq!(outcome, Err(Fault::Limit(Limit::Time(short))));
        // No other work begins while it runs.
        let outcome = run(&turn, short, || true).await;
        assert_eq!(outcome, Err(Fault::Limit(Limit::Time(short))));
        end.send(()).unwrap();
        assert_eq!(run(&turn, AMPLE, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_gives_the_turn_back() {
        let turn = Arc::new(Semaphore::new(1));
        let outcome = run::<()>(&turn, AMPLE, || panic!("no such schema")).await;
        insta::assert_snapshot!(outcome.unwrap_err(), @"it crashed: the agent panicked while it served the call, which is a defect of the agent: no such schema");
        assert_eq!(run(&turn, AMPLE, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn there_is_room_for_what_nests() {
        fn down(level: u32) -> u32 {
            let room = std::hint::black_box([0_u8; 4 << 10]);
            if level == 0 {
                u32::from(room[0])
            } else {
                down(level - 1) + u32::from(room[1])
            }
        }
        let turn = Arc::new(Semaphore::new(1));
        assert_eq!(run(&turn, AMPLE, || down(1_000)).await, Ok(0));
    }
}
