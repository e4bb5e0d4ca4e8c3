//! A few schedules in each run of the tests. `cargo xtask test torture` runs as many as you like.

use anyhow::Result;
use pintle_torture::{Options, run};

/// The first seed. Schedules that once found something are as valuable as new ones, so it stays the same.
const SEED: u64 = 1;

/// Seeds of further schedules that once broke something. Each is played alone.
///
/// - 66: a clock that went forward and back made a one-second retry wait for hours.
/// - 447: an edit made while a watch started anew was looked at before it counted, and never again.
/// - 526: two applications that deleted something waited for each other's render of a commit that both had rendered, because its
///   push was reported again in the meantime.
const FOUND: [u64; 3] = [66, 447, 526];

#[test]
fn schedules_of_changes_and_faults_end_as_git_says() -> Result<()> {
    let options = Options {
        seed: SEED,
        schedules: 24,
        lanes: 4,
    };
    let summary = run(&options, &|line| println!("{line}"))?;
    println!("{summary:?}");
    assert!(
        summary.faults > 100 && summary.restarts > 0,
        "faults are injected: {summary:?}"
    );
    Ok(())
}

#[test]
fn schedules_that_once_broke_something_hold() -> Result<()> {
    for seed in FOUND {
        let options = Options {
            seed,
            schedules: 1,
            lanes: 1,
        };
        run(&options, &|line| println!("{line}"))?;
    }
    Ok(())
}
