//! A few thousand schedules in each run of the tests. `cargo xtask sim schedules` plays as many as you like.

#[test]
fn schedules_in_virtual_time_end_as_git_says() -> anyhow::Result<()> {
    let searched = pintle_sim::search(1, 3000, 2)?;
    assert_eq!(searched.schedules, 3000);
    assert!(searched.faults > 3000, "faults are injected: {searched:?}");
    Ok(())
}

/// In the first schedule, the answer to a status is lost while a newer commit waits. In the second, an Application is created
/// again before the last request of its first life is answered.
#[test]
fn schedules_that_once_broke_something_hold() -> anyhow::Result<()> {
    for seed in [123_647, 268_342] {
        pintle_sim::search(seed, 1, 1)?;
    }
    Ok(())
}
