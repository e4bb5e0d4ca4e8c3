//! Waiting for a state, with a limit, instead of sleeping for a guessed time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::run_dir;

/// The pause between two looks: short compared to anything that is waited for, long compared to the cost of a look.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `look` again and again until it returns a value. After `limit`, fails with an error that says `what` was awaited and the
/// last reason that `look` returned.
///
/// `look` returns `Ok(Err(reason))` for "not yet", and `Err(_)` for a failure that waiting cannot cure.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(reason) if start.elapsed() >= limit => {
                run_dir::give_up();
                bail!("{what}: not after {limit:?}; last seen: {reason}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Does the same as [`until`] for async code.
pub async fn until_async<T, F>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T>
where
    F: Future<Output = Result<Result<T, String>>>,
{
    let start = Instant::now();
    loop {
        match look().await? {
            Ok(value) => return Ok(value),
            Err(reason) if start.elapsed() >= limit => {
                run_dir::give_up();
                bail!("{what}: not after {limit:?}; last seen: {reason}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
