//! A few schedules on each run of the tests; `cargo xtask test torture` runs as many as one likes.

use anyhow::Result;
use pintle_torture::{Options, run};

/// The first seed. Those that once found something are worth as much as new ones, so it stays the same.
const SEED: u64 = 1;

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
