//! A whole fleet in virtual time: each application has its real state machine, and its requests cost what was measured.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use pintle_core::digest::Digest;
use pintle_core::machine::{Effect, Event, Outcome, Retry, RunId, State};

/// Microseconds of virtual time.
pub(crate) type Micros = u64;

/// The number of parts that applications are split into. Each part is held by one replica.
const SHARDS: u8 = 128;
/// The number of applications that a replica works on at the same time.
const SLOTS: usize = 32;
/// The latency from a client to the server, or back.
const ONE_WAY: Micros = 250;
/// The maximum number of times that one request is sent, and the first pause.
const ATTEMPTS: u8 = 6;
const FIRST_PAUSE: Micros = 100_000;
/// How long the server asks a client to wait if its queues are full.
const RETRY_AFTER: Micros = 1_000_000;
/// The time without a renewal after which a replica counts as dead.
pub(crate) const LEASE: Micros = 15_000_000;

/// The costs, in microseconds of CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// The cost for the control plane of a request that writes.
    pub(crate) server: Micros,
    /// The cost for the agent of each request that it sends, including everything before and after it.
    pub(crate) agent: Micros,
}

/// The fleet, and the cluster that it works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) applications: u32,
    /// The number of objects of each application.
    pub(crate) objects: u32,
    pub(crate) replicas: usize,
    /// The number of CPUs of each replica.
    pub(crate) replica_cpus: usize,
    /// The number of CPUs of the control plane.
    pub(crate) server_cpus: usize,
    /// How many requests the server accepts at the same time before it answers 429.
    pub(crate) queue: usize,
    pub(crate) costs: Costs,
    /// Whether the control plane and the agent share the CPUs of the control plane, as on the machine of the measurement.
    pub(crate) one_machine: bool,
    /// When a replica dies, if one does.
    pub(crate) lost: Option<Micros>,
    /// Whether each application is new, or only one object of each has changed.
    pub(crate) work: Work,
}

/// The work for each application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Everything is created.
    Build,
    /// A commit changes one object.
    Change,
}

/// The outcome.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    /// The time until the last application converged.
    pub(crate) took: Micros,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    /// How many applications had converged at which time.
    pub(crate) curve: Vec<(Micros, u32)>,
    pub(crate) server_busy: Micros,
    pub(crate) agent_busy: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A request has been prepared and leaves its replica.
    Sent {
        application: u32,
        life: u16,
        attempt: u8,
    },
    Served {
        application: u32,
        life: u16,
    },
    Refused {
        application: u32,
        life: u16,
        attempt: u8,
    },
    Woke {
        application: u32,
        life: u16,
    },
    Lost,
    TakenOver,
}

/// CPUs that process work in the order in which it arrives.
struct Cpus {
    free: BinaryHeap<Reverse<Micros>>,
    busy: Micros,
}

impl Cpus {
    fn new(count: usize) -> Self {
        Self {
            free: (0..count.max(1)).map(|_| Reverse(0)).collect(),
            busy: 0,
        }
    }

    /// Returns when work that arrives now is done.
    fn work(&mut self, now: Micros, cost: Micros) -> Micros {
        let free = self.free.pop().map_or(0, |Reverse(free)| free);
        let done = free.max(now) + cost;
        self.free.push(Reverse(done));
        self.busy += cost;
        done
    }
}

struct Application {
    machine: State,
    replica: u16,
    /// Counts owners, so that events for an earlier owner can be recognised.
    life: u16,
    run: Option<RunId>,
    /// The remaining steps of the run, including the current one: how many requests each step sends together.
    steps: VecDeque<u32>,
    outstanding: u32,
    failed: bool,
    done: bool,
}

struct Replica {
    cpus: Cpus,
    working: usize,
    waiting: VecDeque<u32>,
    alive: bool,
}

pub(crate) struct Fleet {
    setting: Setting,
    now: Micros,
    number: u64,
    queue: BinaryHeap<Reverse<(Micros, u64, What)>>,
    applications: Vec<Application>,
    replicas: Vec<Replica>,
    server: Cpus,
    in_server: usize,
    converged: u32,
    course: Course,
}

/// Returns the shard of an application, by a stable hash of its name.
fn shard(name: &str) -> u8 {
    Digest::of(name).as_bytes()[0] % SHARDS
}

impl Fleet {
    pub(crate) fn new(setting: Setting) -> Self {
        let applications = (0..setting.applications).map(|number| {
            let name = format!("fleet/app-{number}");
            let replica = usize::from(shard(&name)) % setting.replicas;
            Application {
                machine: State::new(name),
                replica: u16::try_from(replica).unwrap_or(u16::MAX),
                life: 0,
                run: None,
                steps: VecDeque::new(),
                outstanding: 0,
                failed: false,
                done: false,
            }
        });
        Self {
            applications: applications.collect(),
            replicas: (0..setting.replicas)
                .map(|_| Replica {
                    cpus: Cpus::new(setting.replica_cpus),
                    working: 0,
                    waiting: VecDeque::new(),
                    alive: true,
                })
                .collect(),
            server: Cpus::new(setting.server_cpus),
            setting,
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            in_server: 0,
            converged: 0,
            course: Course::default(),
        }
    }

    /// Plays until every application has converged.
    pub(crate) fn play(mut self) -> Course {
        if let Some(lost) = self.setting.lost {
            self.put(lost, What::Lost);
            self.put(lost + LEASE, What::TakenOver);
        }
        for application in 0..self.setting.applications {
            self.begin(application);
        }
        let every = (self.setting.applications / 200).max(1);
        let mut told = 0;
        while self.converged < self.setting.applications {
            let Some(Reverse((at, _, what))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            self.happen(what);
            if self.converged >= told + every || self.converged == self.setting.applications {
                told = self.converged;
                self.course.curve.push((self.now, told));
            }
        }
        self.course.took = self.now;
        self.course.server_busy = self.server.busy;
        self.course.agent_busy += self
            .replicas
            .iter()
            .map(|replica| replica.cpus.busy)
            .sum::<Micros>();
        self.course
    }

    fn put(&mut self, at: Micros, what: What) {
        self.number += 1;
        self.queue.push(Reverse((at, self.number, what)));
    }

    /// Feeds the state machine of an application the events of a replica that has just acquired it.
    fn begin(&mut self, application: u32) {
        self.step(
            application,
            Event::Spec {
                generation: 1,
                suspended: false,
            },
        );
        self.step(application, Event::Revision("1".to_owned()));
    }

    fn step(&mut self, application: u32, event: Event) {
        let one = &mut self.applications[application as usize];
        let machine = std::mem::replace(&mut one.machine, State::new(""));
        let (machine, effects) = machine.step(event);
        one.machine = machine;
        let life = one.life;
        for effect in effects {
            match effect {
                Effect::Start { run, .. } => self.start(application, run),
                Effect::WakeAt(millis) => self.put(millis * 1000, What::Woke { application, life }),
                // Nothing is suspended, deleted, superseded or refused here, and git always answers.
                Effect::Guard { .. }
                | Effect::Tell { .. }
                | Effect::Rest { .. }
                | Effect::Remove { .. }
                | Effect::Cancel { .. } => {}
            }
        }
    }

    fn start(&mut self, application: u32, run: RunId) {
        let objects = self.setting.objects;
        let one = &mut self.applications[application as usize];
        one.run = Some(run);
        one.failed = false;
        one.steps = match self.setting.work {
            // The finalizer, the inventory, objects that others refer to, the other objects, and the status with its event.
            Work::Build => [1, 1, objects.div_ceil(4), objects - objects.div_ceil(4), 2]
                .into_iter()
                .filter(|requests| *requests > 0)
                .collect(),
            // The object is read, the status records the intention, the object is written, and the status and an event report it.
            Work::Change => [1, 1, 1, 2].into(),
        };
        let replica = &mut self.replicas[usize::from(one.replica)];
        if replica.working < SLOTS {
            replica.working += 1;
            self.send(application);
        } else {
            replica.waiting.push_back(application);
        }
    }

    /// Prepares and sends the requests of the current step.
    fn send(&mut self, application: u32) {
        let one = &mut self.applications[application as usize];
        let Some(requests) = one.steps.front().copied() else {
            return;
        };
        one.outstanding = requests;
        let life = one.life;
        for _ in 0..requests {
            self.prepare(application, life, 1);
        }
    }

    fn prepare(&mut self, application: u32, life: u16, attempt: u8) {
        let replica = usize::from(self.applications[application as usize].replica);
        let cost = self.setting.costs.agent;
        let cpus = if self.setting.one_machine {
            self.course.agent_busy += cost;
            &mut self.server
        } else {
            &mut self.replicas[replica].cpus
        };
        let done = cpus.work(self.now, cost);
        self.put(
            done + ONE_WAY,
            What::Sent {
                application,
                life,
                attempt,
            },
        );
    }

    fn is_current(&self, application: u32, life: u16) -> bool {
        self.applications[application as usize].life == life
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Sent {
                application,
                life,
                attempt,
            } => {
                if self.in_server >= self.setting.queue {
                    self.course.refused += 1;
                    let at = self.now + ONE_WAY + RETRY_AFTER + (FIRST_PAUSE << attempt);
                    self.put(
                        at,
                        What::Refused {
                            application,
                            life,
                            attempt,
                        },
                    );
                    return;
                }
                self.course.requests += 1;
                self.in_server += 1;
                let done = self.server.work(self.now, self.setting.costs.server);
                self.put(done + ONE_WAY, What::Served { application, life });
            }
            What::Served { application, life } => {
                self.in_server -= 1;
                if self.is_current(application, life) {
                    self.answered(application);
                }
            }
            What::Refused {
                application,
                life,
                attempt,
            } if self.is_current(application, life) => {
                if attempt < ATTEMPTS {
                    self.prepare(application, life, attempt + 1);
                } else {
                    self.applications[application as usize].failed = true;
                    self.answered(application);
                }
            }
            What::Woke { application, life } if self.is_current(application, life) => {
                let now = self.now / 1000;
                self.step(application, Event::Woke { now });
            }
            What::Lost => {
                self.replicas[0].alive = false;
                for one in &mut self.applications {
                    // The requests that it has sent are served, and nobody is left to receive the answers.
                    if one.replica == 0 {
                        one.life += 1;
                    }
                }
            }
            What::TakenOver => self.take_over(),
            What::Refused { .. } | What::Woke { .. } => {}
        }
    }

    fn answered(&mut self, application: u32) {
        let one = &mut self.applications[application as usize];
        one.outstanding -= 1;
        if one.outstanding > 0 {
            return;
        }
        one.steps.pop_front();
        if !one.failed && !one.steps.is_empty() {
            self.send(application);
            return;
        }
        let outcome = if one.failed {
            Outcome::Failed(Retry::Backoff)
        } else {
            Outcome::Done
        };
        if outcome == Outcome::Done && !std::mem::replace(&mut one.done, true) {
            self.converged += 1;
        }
        let replica = usize::from(one.replica);
        if let Some(run) = one.run.take() {
            let now = self.now / 1000;
            self.step(application, Event::Finished { run, outcome, now });
        }
        match self.replicas[replica].waiting.pop_front() {
            Some(next) => self.send(next),
            None => self.replicas[replica].working -= 1,
        }
    }

    /// Distributes what the dead replica held to the others. Each state machine starts anew, because it was in the dead replica's
    /// memory.
    fn take_over(&mut self) {
        let heirs: Vec<u16> = (0..self.replicas.len())
            .filter(|replica| self.replicas[*replica].alive)
            .filter_map(|replica| u16::try_from(replica).ok())
            .collect();
        let Some(count) = std::num::NonZero::new(heirs.len()) else {
            return;
        };
        let orphans: Vec<u32> = (0..self.setting.applications)
            .filter(|one| self.applications[*one as usize].replica == 0)
            .collect();
        for orphan in orphans {
            let name = format!("fleet/app-{orphan}");
            let heir = usize::from(shard(&name)) / self.setting.replicas % count;
            let one = &mut self.applications[orphan as usize];
            one.replica = heirs[heir];
            one.machine = State::new(name);
            // A converged application is compared with the cluster, which costs no request.
            if !one.done {
                self.begin(orphan);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            applications: 200,
            objects: 4,
            replicas: 2,
            replica_cpus: 1,
            server_cpus: 2,
            queue: 1000,
            costs: Costs {
                server: 1000,
                agent: 500,
            },
            one_machine: false,
            lost: None,
            work: Work::Build,
        }
    }

    #[test]
    fn each_application_costs_what_it_must_and_the_server_is_the_limit() {
        let course = Fleet::new(setting()).play();
        assert_eq!(course.requests, 200 * 8);
        // 1,600 requests of a millisecond each on two CPUs.
        assert!((800_000..900_000).contains(&course.took), "{course:?}");
        assert_eq!(course.curve.last().map(|last| last.1), Some(200));
    }

    #[test]
    fn a_server_with_short_queues_refuses_and_all_converge_all_the_same() {
        let course = Fleet::new(Setting {
            queue: 8,
            ..setting()
        })
        .play();
        assert!(course.refused > 0);
        assert_eq!(course.curve.last().map(|last| last.1), Some(200));
    }

    #[test]
    fn what_a_lost_replica_had_is_taken_over_after_its_lease() {
        let lost = Some(200_000);
        let course = Fleet::new(Setting { lost, ..setting() }).play();
        assert!(course.took > LEASE, "{course:?}");
        assert!(
            course.requests < 200 * 8 + 32 * 8,
            "only what was under way is done again"
        );
        assert_eq!(course.curve.last().map(|last| last.1), Some(200));
    }
}
