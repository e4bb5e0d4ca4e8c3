//! A few thousand schedules on each run of the tests; `cargo xtask sim schedules` plays as many as one likes.

#[test]
fn schedules_in_virtual_time_end_as_git_says() -> anyhow::Result<()> {
    let searched = pintle_sim::search(1, 3000, 2)?;
    assert_eq!(searched.schedules, 3000);
    assert!(searched.faults > 3000, "faults are injected: {searched:?}");
    Ok(())
}
