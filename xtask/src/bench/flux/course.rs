//! What both contenders go through, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pintle_harness::GitRepo;

use super::arena::Arena;
use super::contender::{Contender, Side, Standing};
use super::drift;
use super::observer::Observer;
use super::results::Walked;
use crate::bench::applications::{self, Names};
use crate::bench::measure::{Meter, Phase};
use crate::terminal;

/// The names of the phases after the start, in order.
pub(super) const CREATED: &str = "applications created";
pub(super) const PUSH: &str = "first push";
pub(super) const ONE: &str = "commit to one";
pub(super) const NONE: &str = "commit to none";
pub(super) const IDLE: &str = "idle";
pub(super) const ALL: &str = "change in all";
pub(super) const DRIFT: &str = "hand edits";

/// The time limit for a phase. Flux with 1000 applications takes 5 minutes on 16 cores.
const LIMIT: Duration = Duration::from_mins(40);
/// How long a phase continues after the last application is Ready: what follows is part of its cost.
const SETTLE: Duration = Duration::from_secs(3);
/// How long there may be no news before the controller is checked to be still running.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The pause between two reads of the controller's own counter, which cost the controller something.
const COUNT_PAUSE: Duration = Duration::from_millis(200);
/// How many applications that are not Ready an error names.
const NAMED: usize = 5;

/// The images of the Deployments. No pod ever pulls them.
const FIRST_IMAGE: &str = "registry.k8s.io/pause:3.8";
const IMAGE_OF_ONE: &str = "registry.k8s.io/pause:3.9";
const IMAGE_OF_ALL: &str = "registry.k8s.io/pause:3.10";

/// How much there is to reconcile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) names: Names,
    /// How often applications are reconciled although nothing has happened, in seconds.
    pub(super) interval: u64,
}

/// Goes through all phases with one contender.
pub(super) fn walk(side: Side, load: Size, idle: Duration) -> Result<Walked> {
    terminal::step(&format!(
        "{} with {} applications: setting up",
        side.name(),
        load.names.count()
    ));
    let mut arena = Arena::set()?;
    let walked = walk_in(&arena, side, load, idle);
    walked.map_err(|error| {
        let dir = arena.keep();
        error.context(format!("ended early; logs are below {}", dir.display()))
    })
}

fn walk_in(arena: &Arena, side: Side, load: Size, idle: Duration) -> Result<Walked> {
    let Size { names, interval } = load;
    let (contender, start) = side.start(arena)?;
    let observer = arena.observe(&contender.resource(), contender.standing());
    let mut course = Course {
        arena,
        contender,
        observer,
        names,
        seen: BTreeMap::new(),
        phases: Vec::new(),
    };
    course.done(start);
    course.create(interval)?;
    course.commit(PUSH, Concerns::All, |repository| {
        for name in names.all() {
            write(repository, &name, FIRST_IMAGE)?;
        }
        Ok(())
    })?;
    course.commit(ONE, Concerns::One, |repository| {
        write(repository, &names.chosen(), IMAGE_OF_ONE)
    })?;
    course.commit(NONE, Concerns::None, |repository| {
        repository.write("README.md", "All applications of the benchmark.\n")
    })?;
    course.idle(idle)?;
    course.commit(ALL, Concerns::All, |repository| {
        for name in names.all() {
            write(repository, &name, IMAGE_OF_ALL)?;
        }
        Ok(())
    })?;
    let drift = course.drift()?;
    course.contender.stop()?;
    Ok(Walked {
        phases: course.phases,
        drift,
    })
}

fn write(repository: &GitRepo, name: &str, image: &str) -> Result<()> {
    let file = format!("{}/all.yaml", applications::folder(name));
    repository.write(&file, applications::manifests(name, image))
}

/// The applications that a commit changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concerns {
    All,
    One,
    None,
}

struct Course<'a> {
    arena: &'a Arena,
    contender: Box<dyn Contender>,
    observer: Observer<Standing>,
    names: Names,
    /// The latest state of each application, and when it arrived.
    seen: BTreeMap<String, (Standing, Instant)>,
    phases: Vec<Phase>,
}

impl Course<'_> {
    /// Makes the controller reconcile the applications, which are not in git yet.
    fn create(&mut self, interval: u64) -> Result<()> {
        let meter = self.meter(CREATED)?;
        let start = Instant::now();
        let manifests = self
            .contender
            .applications(self.arena, self.names, interval);
        self.arena.control_plane.apply(&manifests)?;
        let all = self.names.all().collect();
        let last = self.wait("looked at", &all, |standing| standing.message.is_some())?;
        self.end(meter, last.saturating_duration_since(start))
    }

    /// Commits, pushes, notifies the controller, and measures until the controller has done all that the commit requires.
    ///
    /// The wall time ends when the applications that the commit concerns are Ready. If there are none, it ends when the
    /// controller has found that out.
    fn commit(
        &mut self,
        name: &'static str,
        concerns: Concerns,
        change: impl FnOnce(&GitRepo) -> Result<()>,
    ) -> Result<()> {
        let repository = &self.arena.repository;
        change(repository)?;
        let commit = repository.commit(name)?;
        repository.push()?;
        self.contender.publish(self.arena, &commit)?;
        let revision = self.contender.revision(&commit);
        let looks = self.contender.looks()?;

        let meter = self.meter(name)?;
        let start = Instant::now();
        self.contender.announce(self.arena)?;
        let all: BTreeSet<String> = self.names.all().collect();
        let is_ready =
            |standing: &Standing| standing.ready && standing.revision.as_ref() == Some(&revision);
        let concerned = match concerns {
            Concerns::All => Some(all.clone()),
            Concerns::One => Some(BTreeSet::from([self.names.chosen()])),
            Concerns::None => None,
        };
        let ready = match &concerned {
            Some(concerned) => Some(self.wait("Ready", concerned, is_ready)?),
            None => None,
        };
        let looked = match looks {
            Some(before) => self.wait_looks(before)?,
            None => self.wait("Ready", &all, is_ready)?,
        };
        let wall = ready.unwrap_or(looked).saturating_duration_since(start);
        self.end(meter, wall)
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        let meter = self.meter(IDLE)?;
        terminal::line(&format!("nothing to do for {} s", time.as_secs()));
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.contender.subject().check_running()?;
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        let phase = meter.end(time, self.contender.subject(), &self.arena.control_plane)?;
        self.done(phase);
        Ok(())
    }

    fn drift(&mut self) -> Result<drift::Drift> {
        let meter = self.meter(DRIFT)?;
        let start = Instant::now();
        let drift = drift::measure(
            self.arena,
            self.contender.subject(),
            self.names,
            IMAGE_OF_ALL,
        )?;
        self.end(meter, start.elapsed())?;
        Ok(drift)
    }

    fn meter(&self, name: &'static str) -> Result<Meter> {
        Meter::start(name, self.contender.subject(), &self.arena.control_plane)
    }

    fn end(&mut self, meter: Meter, wall: Duration) -> Result<()> {
        std::thread::sleep(SETTLE);
        let phase = meter.end(wall, self.contender.subject(), &self.arena.control_plane)?;
        self.done(phase);
        Ok(())
    }

    fn done(&mut self, phase: Phase) {
        terminal::line(&format!(
            "{}: {:.2} s, {:.2} CPU-s, {} requests, {} MiB",
            phase.name,
            phase.wall_seconds,
            phase.cpu_seconds,
            phase.total(),
            phase.peak_memory_bytes >> 20
        ));
        for (what, count) in &phase.refused {
            terminal::line(&format!("  refused: {count} x {what}"));
        }
        self.phases.push(phase);
    }

    /// Waits until all named applications are in a state, and returns when the last one was seen to be.
    fn wait(
        &mut self,
        what: &str,
        names: &BTreeSet<String>,
        is_so: impl Fn(&Standing) -> bool,
    ) -> Result<Instant> {
        let end = Instant::now() + LIMIT;
        let mut awaited = names.clone();
        let mut last = None;
        for (name, (standing, at)) in &self.seen {
            if is_so(standing) && awaited.remove(name) {
                last = last.max(Some(*at));
            }
        }
        while !awaited.is_empty() {
            ensure!(
                Instant::now() < end,
                self.not_yet(what, &awaited, names.len())
            );
            let Some(sight) = self.observer.next(LOOK)? else {
                self.contender.subject().check_running()?;
                continue;
            };
            if is_so(&sight.state) && awaited.remove(&sight.name) {
                last = last.max(Some(sight.at));
            }
            self.seen.insert(sight.name, (sight.state, sight.at));
        }
        Ok(last.unwrap_or_else(Instant::now))
    }

    fn not_yet(&self, what: &str, awaited: &BTreeSet<String>, of: usize) -> String {
        let mut text = format!(
            "{} of {of} applications are not {what} after {LIMIT:?}",
            awaited.len()
        );
        for name in awaited.iter().take(NAMED) {
            let message = self
                .seen
                .get(name)
                .and_then(|(standing, _)| standing.message.as_deref())
                .unwrap_or("it says nothing");
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {name}: {message}");
        }
        text
    }

    /// Waits until the controller has determined what a commit means for each application.
    fn wait_looks(&self, before: f64) -> Result<Instant> {
        let end = Instant::now() + LIMIT;
        let expected = u32::try_from(self.names.count()).map_or(f64::MAX, f64::from);
        loop {
            let looks = self.contender.looks()?.unwrap_or(before) - before;
            if looks >= expected {
                return Ok(Instant::now());
            }
            ensure!(
                Instant::now() < end,
                "the commit was looked at for {looks} of {expected} applications after {LIMIT:?}"
            );
            self.contender.subject().check_running()?;
            std::thread::sleep(COUNT_PAUSE);
        }
    }
}
