//! One schedule in virtual time: people, git, a model of the API server, and replicas of the agent.

mod revisions;
mod unsure;
mod watching;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pintle_core::machine::{Effect, Event, Millis, Outcome, Retry, RunId};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::catalog::{APPLICATIONS, Catalog};
use crate::check;
use crate::queue::{Entry, What};
use crate::replica::Replica;
use crate::run::{ATTEMPTS, Next, Run, Wanted, Work};
use crate::schedule::{Act, Schedule};
use crate::server::{Answer, Broken, Request, Server};

/// How long the others wait for a replica that died.
const LEASE: Millis = 15_000;
/// How long a container takes to restart.
const RESTART: Millis = 1_000;
/// How long after the end of a process its requests still reach the server: those that had already left it. When a connection is
/// gone, the server drops the requests that it has not begun. A network that delays requests for longer than a container takes to
/// restart could create an object of an application that has been removed in the meantime. This is not modelled.
const IN_FLIGHT: Millis = 500;
/// An application that has not converged this long after the last fault is starving: twice the longest pause, plus whatever else
/// there is to do.
const PATIENCE: Millis = 15 * 60_000;

/// The results of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Played {
    pub(crate) events: u64,
    pub(crate) writes: u64,
    pub(crate) faults: u64,
    /// The virtual time from the last fault until there was nothing left to do.
    pub(crate) settled: Millis,
}

pub(crate) struct World<'c> {
    catalog: &'c Catalog,
    schedule: &'c Schedule,
    random: StdRng,
    now: Millis,
    number: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    server: Server,
    /// What git has in each revision, by application.
    revisions: Vec<Vec<Wanted>>,
    replicas: Vec<Replica>,
    /// When the last pending notice of each replica's two watches arrives: a watch reports in order.
    told_until: Vec<[Millis; 2]>,
    /// Who holds the lease, and until when others cannot have it.
    lease: Option<(usize, Millis)>,
    calm: bool,
    faults: u64,
    /// The story of what happens, if it is wanted.
    story: Option<Vec<String>>,
}

impl<'c> World<'c> {
    pub(crate) fn new(catalog: &'c Catalog, schedule: &'c Schedule, tells: bool) -> Self {
        let mut world = Self {
            catalog,
            schedule,
            random: StdRng::seed_from_u64(schedule.seed),
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            server: Server::new(catalog.slots(), APPLICATIONS),
            revisions: Vec::new(),
            replicas: (0..schedule.replicas).map(|_| Replica::default()).collect(),
            told_until: vec![[0; 2]; schedule.replicas],
            lease: None,
            calm: false,
            faults: 0,
            story: tells.then(Vec::new),
        };
        world.commit(schedule.first.clone());
        for application in 0..APPLICATIONS {
            if !schedule.first[application].is_empty() {
                world.server.make(application);
            }
        }
        for replica in 0..world.replicas.len() {
            world.put(0, replica, What::Start);
        }
        let mut at = 0;
        for (number, act) in schedule.acts.iter().enumerate() {
            at += act.after;
            world.put(at, 0, What::Act(number));
        }
        world.put(at + 1, 0, What::Calm);
        world
    }

    /// Plays until there is nothing left to do.
    pub(crate) fn play(&mut self) -> Result<Played, Broken> {
        let (mut events, mut calm_since) = (0, None);
        while let Some(Reverse(entry)) = self.queue.pop() {
            self.now = entry.at;
            events += 1;
            if self.calm {
                let since = *calm_since.get_or_insert(self.now);
                if self.now - since > PATIENCE {
                    return Err(Broken(format!("there is no end to it: {:?}", entry.what)));
                }
            }
            self.happen(entry)?;
        }
        check::settled(self.catalog, &self.server, &self.revisions)?;
        Ok(Played {
            events,
            writes: self.server.writes,
            faults: self.faults,
            settled: self.now - calm_since.unwrap_or(self.now),
        })
    }

    /// Returns what has happened so far, if the story is recorded.
    pub(crate) fn story(&self) -> &[String] {
        self.story.as_deref().unwrap_or_default()
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>8} ms  {}", self.now, what()));
        }
    }

    fn put(&mut self, after: Millis, replica: usize, what: What) {
        self.number += 1;
        let (life, epoch) = (self.replicas[replica].life, self.replicas[replica].epoch);
        self.queue.push(Reverse(Entry {
            at: self.now + after,
            number: self.number,
            replica,
            life,
            epoch,
            what,
        }));
    }

    /// Rolls the dice for one fault, in percent. Once the faults have stopped, none strikes.
    fn strikes(&mut self, percent: u8) -> bool {
        let struck = !self.calm && self.random.random_range(0..100) < percent;
        self.faults += u64::from(struck);
        struck
    }

    fn latency(&mut self) -> Millis {
        match self.random.random_range(0..20) {
            0 if !self.calm => self.random.random_range(50..3_000),
            _ => self.random.random_range(1..20),
        }
    }

    fn happen(&mut self, entry: Entry) -> Result<(), Broken> {
        let Entry {
            replica,
            life,
            epoch,
            what,
            ..
        } = entry;
        let lives = self.replicas[replica].life == life && self.replicas[replica].alive;
        match what {
            What::Act(number) => self.act(number),
            What::Calm => {
                self.calm = true;
                self.tell(|| "the faults stop".to_owned());
                self.allow_all();
                // The webhook is finally delivered again.
                for replica in 0..self.replicas.len() {
                    self.put(1, replica, What::Fetch);
                }
            }
            // A request that has left a process reaches the server, whatever happens to the process.
            What::Arrive(application, run, request, attempt) => {
                let ended = self.replicas[replica].ended(life);
                if ended.is_some_and(|ended| self.now > ended + IN_FLIGHT) {
                    return Ok(());
                }
                let answer = self.arrive(application, &request)?;
                let answered = What::Answered(application, run, request, answer, attempt);
                if lives {
                    let after = self.latency();
                    self.put(after, replica, answered);
                }
            }
            What::Start if !self.replicas[replica].alive => self.start(replica),
            What::Claim if lives => self.claim(replica),
            What::Fetch if lives => self.fetch(replica),
            What::Watch(notice) if lives && self.replicas[replica].epoch == epoch => {
                self.watched(replica, notice);
            }
            What::Relist if lives && self.replicas[replica].epoch == epoch => self.relist(replica),
            What::Woke(application) if lives => {
                let now = self.now;
                self.step(replica, application, Event::Woke { now });
            }
            What::Answered(application, run, request, answer, attempt) if lives => {
                self.answered(replica, application, run, request, answer, attempt);
            }
            _ => {}
        }
        Ok(())
    }

    fn act(&mut self, number: usize) {
        let act = &self.schedule.acts[number].act;
        self.tell(|| format!("{act:?}"));
        let notice = match act {
            Act::Commit(revision) => {
                self.commit(revision.clone());
                // If one is lost, the next one catches up on it, or the last one of all.
                for replica in 0..self.replicas.len() {
                    if !self.strikes(self.schedule.weather) {
                        let after = self.latency();
                        self.put(after, replica, What::Fetch);
                    }
                }
                None
            }
            Act::Edit(slot) => self.server.edit(*slot),
            Act::Remove(slot) => self.server.remove(*slot),
            Act::Make(application) => self.server.make(*application),
            Act::Respecify(application) => self.server.respecify(*application, None),
            Act::Suspend(application, suspend) => {
                self.server.respecify(*application, Some(*suspend))
            }
            Act::Delete(application) => self.server.begin_removal(*application),
            Act::Kill(replica) => {
                self.kill(replica % self.replicas.len());
                None
            }
            Act::Expire => {
                for replica in 0..self.replicas.len() {
                    self.reconnect(replica);
                }
                None
            }
            Act::Steal(millis) => {
                self.lease = None;
                let holders = (0..self.replicas.len()).filter(|one| self.replicas[*one].working);
                for replica in holders.collect::<Vec<_>>() {
                    self.kill(replica);
                }
                // A lease lasts longer than what was in flight when it was lost.
                let after = (*millis).max(IN_FLIGHT + 1);
                for replica in 0..self.replicas.len() {
                    self.put(after, replica, What::Claim);
                }
                None
            }
        };
        self.publish(notice);
    }

    fn commit(&mut self, revision: Vec<Wanted>) {
        for slot in 0..self.catalog.slots() {
            let wanted = revision[Catalog::application_of(slot)].iter();
            match wanted.into_iter().find(|(wanted, _)| *wanted == slot) {
                Some((_, version)) => {
                    self.server.said[slot] |= 1 << version;
                    if self.revisions.is_empty() {
                        self.server.dropped[slot] = false;
                    }
                }
                // A replica that was away may reach this revision before one that has the object, or may never see such a one.
                None => self.server.dropped[slot] = true,
            }
        }
        self.revisions.push(revision);
    }

    fn start(&mut self, replica: usize) {
        self.replicas[replica].start(self.catalog.slots());
        self.tell(|| format!("replica {replica} starts"));
        self.put(1, replica, What::Claim);
    }

    fn kill(&mut self, replica: usize) {
        if self.replicas[replica].alive {
            self.tell(|| format!("replica {replica} ends"));
            let now = self.now;
            self.replicas[replica].end(now);
            self.put(RESTART, replica, What::Start);
        }
    }

    fn claim(&mut self, replica: usize) {
        match self.lease {
            // A restarted container keeps its name.
            Some((holder, until)) if holder != replica && until > self.now => {
                let after = until - self.now;
                self.put(after, replica, What::Claim);
            }
            Some((holder, _)) if holder != replica && self.replicas[holder].working => {}
            _ => {
                self.lease = Some((replica, self.now + LEASE));
                if !self.replicas[replica].working {
                    self.tell(|| format!("replica {replica} works"));
                    self.replicas[replica].working = true;
                    self.reconnect(replica);
                    let after = self.latency();
                    self.put(after, replica, What::Fetch);
                }
            }
        }
    }

    /// Feeds an event to an application's state machine, and carries out the effects.
    fn step(&mut self, replica: usize, application: usize, event: Event) {
        let Some(kept) = self.replicas[replica].applications.get_mut(&application) else {
            return;
        };
        let (machine, effects) = kept.machine.clone().step(event);
        kept.machine = machine;
        for effect in effects {
            match effect {
                Effect::Start { run, revision, .. } => {
                    let revision = revision.parse().expect("revisions are told by number");
                    self.run(replica, application, run, Work::Converge(revision));
                }
                Effect::Guard { run, repairs } => {
                    self.run(replica, application, run, Work::Guard { repairs });
                }
                Effect::Tell { run } | Effect::Rest { run } => {
                    self.run(replica, application, run, Work::Tell);
                }
                Effect::Remove { run } => self.run(replica, application, run, Work::Remove),
                Effect::Cancel { run } => {
                    let running = self.replicas[replica].run(application);
                    if let Some(running) = running.filter(|running| running.id == run) {
                        running.cancel();
                    }
                }
                Effect::WakeAt(time) => {
                    self.put(
                        time.saturating_sub(self.now),
                        replica,
                        What::Woke(application),
                    );
                }
            }
        }
    }

    fn begin(&mut self, replica: usize, application: usize, id: RunId, revision: Option<u32>) {
        self.tell(|| format!("replica {replica}: run {id:?} of {application} at {revision:?}"));
        let wanted = revision.map_or_else(Vec::new, |revision| {
            self.revisions[revision as usize][application].clone()
        });
        let view = &self.replicas[replica].view;
        let Some(kept) = self.replicas[replica].applications.get(&application) else {
            return;
        };
        let run = Run::begin(
            self.catalog,
            id,
            kept.resource.clone(),
            revision,
            wanted,
            view,
        );
        if let Some(kept) = self.replicas[replica].applications.get_mut(&application) {
            kept.run = Some(run);
        }
        self.go_on(replica, application);
    }

    fn go_on(&mut self, replica: usize, application: usize) {
        let Some(run) = self.replicas[replica].run(application) else {
            return;
        };
        let id = run.id;
        match run.next() {
            Next::Wait => {}
            Next::Send(requests) => {
                for request in requests {
                    let after = self.latency();
                    self.put(after, replica, What::Arrive(application, id, request, 1));
                }
            }
            Next::Begin(work) => self.known(replica, application, id, work),
            Next::Over(outcome) => self.finished(replica, application, id, outcome),
        }
    }

    fn finished(&mut self, replica: usize, application: usize, run: RunId, outcome: Outcome) {
        // Waiting for health may fail, and so may what is not modelled.
        let outcome = match outcome {
            Outcome::Done if self.strikes(self.schedule.weather / 4) => {
                Outcome::Failed(Retry::Backoff)
            }
            outcome => outcome,
        };
        self.tell(|| format!("replica {replica}: run {run:?} of {application} is {outcome:?}"));
        if let Some(leaving) = self.replicas[replica].leaving.remove(&application) {
            // The application that has come back in the meantime starts now.
            return self.application(replica, application, leaving.waiting);
        }
        let Some(kept) = self.replicas[replica].applications.get_mut(&application) else {
            return;
        };
        kept.end_run();
        kept.settled = true;
        let now = self.now;
        self.step(replica, application, Event::Finished { run, outcome, now });
        self.look_for_drift(replica, application);
    }

    /// Delivers a request to the server, or to what stands in front of it.
    fn arrive(&mut self, application: usize, request: &Request) -> Result<Answer, Broken> {
        if self.strikes(self.schedule.weather) {
            match self.random.random_range(0..4) {
                // The request is carried out, and the answer is lost.
                0 => drop(self.serve(application, request)?),
                // A request that only reads conflicts with nobody.
                1 if !matches!(request, Request::Read) => return Ok(Answer::Conflict),
                _ => {}
            }
            return Ok(Answer::Failed);
        }
        self.serve(application, request)
    }

    fn serve(&mut self, application: usize, request: &Request) -> Result<Answer, Broken> {
        let (answer, notice) = self.server.take(self.catalog, application, request)?;
        self.tell(|| {
            format!(
                "server: {application} asks {}: {}",
                request.brief(),
                answer.brief()
            )
        });
        self.publish(notice);
        Ok(answer)
    }

    fn answered(
        &mut self,
        replica: usize,
        application: usize,
        id: RunId,
        request: Request,
        answer: Answer,
        attempt: u8,
    ) {
        if matches!(answer, Answer::Failed) && attempt < ATTEMPTS {
            let after = (100 << attempt) + self.latency();
            self.put(
                after,
                replica,
                What::Arrive(application, id, request, attempt + 1),
            );
            return;
        }
        // The answer to an apply reports the new state before the watch does.
        match (&request, &answer) {
            (Request::Apply { slot, .. }, Answer::Applied(live)) => {
                self.replicas[replica].see(*slot, Some(*live), live.version);
            }
            (Request::Delete { slot, .. }, Answer::Deleted { version }) => {
                self.replicas[replica].see(*slot, None, *version);
            }
            _ => {}
        }
        let run = self.replicas[replica].run(application);
        let Some(run) = run.filter(|run| run.id == id) else {
            return;
        };
        run.answered(self.catalog, &request, &answer);
        self.go_on(replica, application);
    }
}
