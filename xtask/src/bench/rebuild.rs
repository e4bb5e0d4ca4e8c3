//! `cargo xtask bench rebuild`: a cluster is lost, and comes back from git.
//!
//! All Applications are in git, too, so an operator only installs the agent and applies one Application, the root. That is when
//! the clock starts. It stops when all Applications are Ready, and with them the root, which waits for the health of the others.
//! The second cluster must have what the first one had.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::applications::{self, OBJECTS, ROOT};
use super::measure::{Meter, Phase};
use super::report::Report;
use super::stage::{INTERVAL, Source, Stage};
use super::{Alone, end_when_quiet, kept_on_failure};
use crate::terminal;

/// Builds a cluster, loses it, and measures both times.
pub(super) fn run(args: &Alone, binary: PathBuf) -> Result<()> {
    let mut stage = Stage::set(Source::new(args.apps)?)?;
    let built = build(&mut stage, "first cluster");
    let (first, held) = kept_on_failure(&mut stage, built)?;
    terminal::step("the cluster is lost");
    let source = stage.lose();
    let mut stage = Stage::set(source)?;
    let built = build(&mut stage, "after its loss");
    let (second, holds) = kept_on_failure(&mut stage, built)?;
    let failures = difference(&held, &holds).into_iter().collect();
    let report = Report::new(&stage, binary, vec![first, second], failures)?;
    stage.strike()?;
    report.conclude(args.json)
}

/// Applies the root, and waits until everything is there. Returns the cost of that, and what is there.
fn build(stage: &mut Stage, name: &'static str) -> Result<(Phase, BTreeSet<String>)> {
    terminal::step(&format!(
        "{name}: one Application that brings {}",
        stage.source.names.count()
    ));
    let meter = Meter::start(name, stage.subject(), &stage.control_plane)?;
    let start = Instant::now();
    let root = applications::root(&stage.source.url(), INTERVAL);
    stage.control_plane.apply(&root)?;
    let commit = stage.source.commit.clone();
    let mut awaited: BTreeSet<String> = stage.source.names.all().collect();
    awaited.insert(ROOT.to_owned());
    stage.wait_for(awaited, &commit)?;
    let phase = end_when_quiet(meter, start.elapsed(), stage)?;
    let holds = stage.managed()?;
    let expected = OBJECTS * stage.source.names.count();
    ensure!(
        holds.len() == expected,
        "{} objects are there, and not {expected}",
        holds.len()
    );
    Ok((phase, holds))
}

/// Returns a description of what only one of the two clusters has, if anything.
fn difference(held: &BTreeSet<String>, holds: &BTreeSet<String>) -> Option<String> {
    let mut differs = held.symmetric_difference(holds);
    let first = differs.next()?;
    let more = differs.count();
    Some(format!(
        "the new cluster differs from the lost one in {first}, and in {more} more objects"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_new_differs() {
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let held = set(&["Service a 1", "Service b 1"]);
        assert_eq!(difference(&held, &held), None);
        let holds = set(&["Service a 2", "Service b 1"]);
        let text =
            "the new cluster differs from the lost one in Service a 1, and in 1 more objects";
        assert_eq!(difference(&held, &holds).as_deref(), Some(text));
    }
}
