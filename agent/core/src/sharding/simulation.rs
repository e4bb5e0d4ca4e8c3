//! Replicas in virtual time, with an API server that is slow, loses answers, and replicas that are killed and paused.

use std::{cmp::Reverse, collections::BTreeMap};

use proptest::prelude::*;

use super::{
    ReplicaId, ShardSet, Table,
    replica::{Effect, Event, Replica, Stored},
};
use crate::machine::Millis;

const DURATION: Millis = 15_000;
const RENEWAL: Millis = DURATION / 3;

/// `SplitMix64`: a seed gives one world.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// What arrives at a replica, or what it does at a time.
#[derive(Debug, Clone)]
enum Arrival {
    Machine(Event),
    /// Sends a renewal, and sets the time for the next.
    Renew,
    /// The request of a renewal arrives at the server.
    AtServer {
        sent: Millis,
    },
    Answer {
        sent: Millis,
    },
    ReadAtServer {
        number: u64,
    },
    /// Looks at the Leases of those from whom is taken, then writes.
    VerifyAtServer {
        table: Table,
        replaces: Option<u64>,
        robbed: BTreeMap<ReplicaId, String>,
    },
    WriteAtServer {
        table: Table,
        replaces: Option<u64>,
    },
    ForgetAtServer(ReplicaId),
    LeaveAtServer,
    /// The controller hears what to work on.
    Told {
        number: u64,
        shards: ShardSet,
    },
    /// What it worked on has come to an end.
    Drained {
        number: u64,
    },
}

struct Node {
    machine: Replica,
    /// Distinguishes a process from an earlier one of the same name.
    process: u64,
    paused_until: Millis,
    open_until: Millis,
    work: (u64, ShardSet),
    active: ShardSet,
    /// When it looks at its clock next.
    tick: Millis,
}

/// What is written when two work on one shard.
type Broken = String;

struct World {
    now: Millis,
    random: Random,
    order: u64,
    queue: BTreeMap<Reverse<(Millis, u64)>, (ReplicaId, u64, Arrival)>,
    nodes: BTreeMap<ReplicaId, Node>,
    leases: BTreeMap<ReplicaId, u64>,
    table: Stored,
    version: u64,
    processes: u64,
    calm: bool,
    writes: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: 1000,
            random: Random(seed),
            order: 0,
            queue: BTreeMap::new(),
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            table: Stored {
                table: Table::default(),
                version: 0,
                exists: false,
            },
            version: 0,
            processes: 0,
            calm: false,
            writes: 0,
        }
    }

    /// A delay: mostly short, at times long.
    fn delay(&mut self) -> Millis {
        match self.random.below(if self.calm { 8 } else { 20 }) {
            0..=8 => 1 + self.random.below(30),
            9..=17 => 1 + self.random.below(1500),
            _ => 1 + self.random.below(12_000),
        }
    }

    fn send(&mut self, to: &ReplicaId, after: Millis, what: Arrival) {
        let Some(node) = self.nodes.get(to) else {
            return;
        };
        self.order += 1;
        let key = Reverse((self.now + after, self.order));
        self.queue.insert(key, (to.clone(), node.process, what));
    }

    fn start(&mut self, id: &ReplicaId) {
        self.processes += 1;
        let node = Node {
            machine: Replica::new(id.clone(), DURATION),
            process: self.processes,
            paused_until: 0,
            open_until: 0,
            work: (0, ShardSet::NONE),
            active: ShardSet::NONE,
            tick: 0,
        };
        self.nodes.insert(id.clone(), node);
        let leases: Vec<_> = self.leases.keys().cloned().collect();
        for lease in leases {
            self.tell_lease(id, &lease);
        }
        self.send(id, 1, Arrival::Renew);
    }

    fn tell_lease(&mut self, to: &ReplicaId, of: &ReplicaId) {
        let event = match self.leases.get(of) {
            Some(renewal) => Event::Member {
                replica: of.clone(),
                renewal: renewal.to_string(),
                duration: DURATION,
            },
            None => Event::MemberGone(of.clone()),
        };
        if to != of {
            let after = self.delay();
            self.send(to, after, Arrival::Machine(event));
        }
    }

    fn tell_all_of_lease(&mut self, of: &ReplicaId) {
        for to in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.tell_lease(&to, of);
        }
    }

    fn tell_all_of_table(&mut self) {
        for to in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let after = self.delay();
            let event = Event::Table(self.table.clone());
            self.send(&to, after, Arrival::Machine(event));
        }
    }

    /// Says whether an answer is lost.
    fn is_lost(&mut self) -> bool {
        !self.calm && self.random.below(12) == 0
    }

    fn arrive(&mut self, id: &ReplicaId, what: Arrival) {
        let event = match what {
            Arrival::Machine(event) => event,
            Arrival::Renew => {
                let (after, sent) = (self.delay(), self.now);
                self.send(id, after, Arrival::AtServer { sent });
                self.send(id, RENEWAL, Arrival::Renew);
                return;
            }
            Arrival::AtServer { sent } => {
                if self.is_lost() {
                    return;
                }
                self.version += 1;
                self.leases.insert(id.clone(), self.version);
                self.tell_all_of_lease(id);
                let after = self.delay();
                if !self.is_lost() {
                    self.send(id, after, Arrival::Answer { sent });
                }
                return;
            }
            Arrival::Answer { sent } => Event::Renewed {
                sent,
                lapsed: self.nodes[id].open_until <= self.now,
            },
            Arrival::ReadAtServer { number } => {
                let stored = (!self.is_lost()).then(|| self.table.clone());
                let after = self.delay();
                let event = Event::Read { number, stored };
                self.send(id, after, Arrival::Machine(event));
                return;
            }
            Arrival::VerifyAtServer {
                table,
                replaces,
                robbed,
            } => {
                self.verify(id, table, replaces, &robbed);
                return;
            }
            Arrival::WriteAtServer { table, replaces } => {
                self.write(id, table, replaces);
                return;
            }
            Arrival::ForgetAtServer(other) => {
                self.leases.remove(&other);
                self.tell_all_of_lease(&other);
                return;
            }
            Arrival::LeaveAtServer => {
                self.leases.remove(id);
                self.tell_all_of_lease(id);
                self.nodes.remove(id);
                return;
            }
            Arrival::Told { number, shards } => {
                let drain = self.random.below(9000);
                let node = self.nodes.get_mut(id).expect("it is alive");
                if number < node.work.0 {
                    return;
                }
                node.work = (number, shards);
                node.active = node.active.or(shards);
                let busy = node.active;
                self.send(id, drain, Arrival::Drained { number });
                Event::Busy {
                    number,
                    shards: busy,
                }
            }
            Arrival::Drained { number } => {
                let node = self.nodes.get_mut(id).expect("it is alive");
                if number < node.work.0 {
                    return;
                }
                node.active = node.work.1;
                Event::Busy {
                    number,
                    shards: node.active,
                }
            }
        };
        self.step(id, event);
    }

    fn verify(
        &mut self,
        id: &ReplicaId,
        table: Table,
        replaces: Option<u64>,
        robbed: &BTreeMap<ReplicaId, String>,
    ) {
        let renewals = robbed.iter().map(|(robbed, known)| {
            let found = self.leases.get(robbed).map(ToString::to_string);
            (robbed.clone(), found.filter(|found| found != known))
        });
        let renewed: Vec<_> = renewals.collect();
        let is_dead = renewed.iter().all(|(_, renewal)| renewal.is_none());
        let after = self.delay();
        if is_dead {
            self.send(id, after, Arrival::WriteAtServer { table, replaces });
            return;
        }
        for (replica, renewal) in renewed {
            if let Some(renewal) = renewal {
                let duration = DURATION;
                let event = Event::Member {
                    replica,
                    renewal,
                    duration,
                };
                self.send(id, after, Arrival::Machine(event));
            }
        }
        self.send(id, after, Arrival::Machine(Event::Wrote { done: false }));
    }

    fn write(&mut self, id: &ReplicaId, table: Table, replaces: Option<u64>) {
        let current = self.table.exists.then_some(self.table.version);
        let done = replaces == current && !self.is_lost();
        if done {
            self.version += 1;
            self.writes += 1;
            self.table = Stored {
                table,
                version: self.version,
                exists: true,
            };
            self.tell_all_of_table();
        }
        let after = self.delay();
        if done && !self.is_lost() {
            let event = Event::Table(self.table.clone());
            self.send(id, after, Arrival::Machine(event));
            self.send(id, after, Arrival::Machine(Event::Wrote { done: true }));
        } else {
            self.send(id, after, Arrival::Machine(Event::Wrote { done: false }));
        }
    }

    fn step(&mut self, id: &ReplicaId, event: Event) {
        let now = self.now;
        let node = self.nodes.get_mut(id).expect("it is alive");
        let effects = node.machine.step(event, now);
        let wake = node.machine.next_wake(now);
        let wake = wake.filter(|wake| node.tick <= now || *wake < node.tick);
        node.tick = wake.unwrap_or(node.tick);
        for effect in effects {
            let after = self.delay();
            match effect {
                Effect::Open { until } => {
                    self.nodes.get_mut(id).expect("it is alive").open_until = until;
                }
                Effect::Close => self.nodes.get_mut(id).expect("it is alive").open_until = 0,
                Effect::Work { number, shards } => {
                    self.send(id, after.min(200), Arrival::Told { number, shards });
                }
                Effect::Read { number } => self.send(id, after, Arrival::ReadAtServer { number }),
                Effect::Write {
                    table,
                    replaces,
                    robbed,
                } => {
                    let what = Arrival::VerifyAtServer {
                        table,
                        replaces,
                        robbed,
                    };
                    self.send(id, after, what);
                }
                Effect::Forget(other) => self.send(id, after, Arrival::ForgetAtServer(other)),
                Effect::Leave => self.send(id, after, Arrival::LeaveAtServer),
            }
        }
        if let Some(wake) = wake {
            self.send(id, wake - now, Arrival::Machine(Event::Tick));
        }
    }

    /// Goes on to a time; at each step at most one replica may write for each shard.
    fn run(&mut self, until: Millis) -> Result<(), Broken> {
        while let Some(entry) = self.queue.last_entry() {
            let time = entry.key().0.0;
            if time > until {
                break;
            }
            let (id, process, what) = entry.remove();
            self.now = self.now.max(time);
            let Some(node) = self.nodes.get(&id) else {
                continue;
            };
            let is_at_server = matches!(
                what,
                Arrival::AtServer { .. }
                    | Arrival::ReadAtServer { .. }
                    | Arrival::VerifyAtServer { .. }
                    | Arrival::WriteAtServer { .. }
                    | Arrival::ForgetAtServer(_)
            );
            if node.process != process {
                continue;
            }
            if node.paused_until > self.now && !is_at_server {
                let after = node.paused_until - self.now;
                self.send(&id, after, what);
                continue;
            }
            self.arrive(&id, what);
            self.check()?;
        }
        self.now = until;
        self.check()
    }

    fn check(&self) -> Result<(), Broken> {
        let mut all = ShardSet::NONE;
        for (id, node) in &self.nodes {
            if node.open_until > self.now && node.paused_until <= self.now {
                let both = all.and(node.active);
                if !both.is_empty() {
                    return Err(format!("at {}: {id} and another work on {both}", self.now));
                }
                all = all.or(node.active);
            }
        }
        Ok(())
    }
}

fn id(number: u64) -> ReplicaId {
    ReplicaId::new(format!("replica-{number}"))
}

/// What befalls the fleet.
#[derive(Debug, Clone)]
enum Fate {
    Start(u64),
    Kill(u64),
    Stop(u64),
    Pause(u64, Millis),
    DeleteLease(u64),
}

fn any_fate() -> impl Strategy<Value = (Millis, Fate)> {
    let fate = prop_oneof![
        4 => (0..4u64).prop_map(Fate::Start),
        2 => (0..4u64).prop_map(Fate::Kill),
        1 => (0..4u64).prop_map(Fate::Stop),
        2 => (0..4u64, 100..40_000u64).prop_map(|(who, long)| Fate::Pause(who, long)),
        1 => (0..4u64).prop_map(Fate::DeleteLease),
    ];
    (1..30_000u64, fate)
}

fn befall(world: &mut World, fate: &Fate) {
    match fate {
        Fate::Start(who) => {
            if !world.nodes.contains_key(&id(*who)) {
                world.start(&id(*who));
            }
        }
        Fate::Kill(who) => {
            world.nodes.remove(&id(*who));
        }
        Fate::Stop(who) => {
            if world.nodes.contains_key(&id(*who)) {
                world.send(&id(*who), 0, Arrival::Machine(Event::Stop));
            }
        }
        Fate::Pause(who, long) => {
            let now = world.now;
            if let Some(node) = world.nodes.get_mut(&id(*who)) {
                node.paused_until = now + long;
            }
        }
        Fate::DeleteLease(who) => {
            world.leases.remove(&id(*who));
            world.tell_all_of_lease(&id(*who));
        }
    }
}

/// Without faults for long enough, those that live share everything evenly and each works on what it holds.
fn all_is_shared(world: &World) -> Result<(), TestCaseError> {
    let mut all = ShardSet::NONE;
    for (id, node) in &world.nodes {
        let held = world.table.table.held_by(id);
        let even = 128 / u32::try_from(world.nodes.len()).expect("few");
        prop_assert!(node.open_until > world.now, "{id} may not write");
        prop_assert_eq!(node.active, held, "{} works on what it holds", id);
        prop_assert!((even..=even + 1).contains(&held.len()), "{id} holds {held}");
        all = all.or(held);
    }
    prop_assert_eq!(all, ShardSet::ALL);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn two_never_work_on_one_shard_and_in_the_end_all_are_worked_on(
        seed in any::<u64>(),
        fates in prop::collection::vec(any_fate(), 0..25),
    ) {
        let mut world = World::new(seed);
        world.start(&id(0));
        for (after, fate) in &fates {
            let until = world.now + after;
            world.run(until).map_err(TestCaseError::fail)?;
            befall(&mut world, fate);
        }
        // The world calms down; who was told to stop is gone by then, so that somebody must be there.
        world.calm = true;
        let until = world.now + 200_000;
        world.run(until).map_err(TestCaseError::fail)?;
        if world.nodes.is_empty() {
            world.start(&id(9));
        }
        let until = world.now + 100_000;
        world.run(until).map_err(TestCaseError::fail)?;
        all_is_shared(&world)?;
        // In the steady state nothing is written but renewals.
        let writes = world.writes;
        let until = world.now + 300_000;
        world.run(until).map_err(TestCaseError::fail)?;
        prop_assert_eq!(world.writes, writes);
        prop_assert!(world.leases.keys().all(|id| world.nodes.contains_key(id)), "the dead are forgotten");
    }
}

/// One replica that is asked to stop hands everything over without waiting for its lease to end.
#[test]
fn a_graceful_stop_hands_over_at_once() {
    let mut world = World::new(1);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    assert_eq!(world.table.table.held_by(&id(0)).len(), 64);
    world.send(&id(0), 0, Arrival::Machine(Event::Stop));
    // Bringing work to an end takes up to nine seconds in this world.
    world.run(60_000 + 10_000).expect("one at a time");
    assert!(!world.nodes.contains_key(&id(0)));
    assert_eq!(world.table.table.held_by(&id(1)), ShardSet::ALL);
    assert_eq!(world.nodes[&id(1)].active, ShardSet::ALL);
}

#[test]
fn a_dead_replica_is_replaced_when_its_lease_has_ended() {
    let mut world = World::new(2);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    world.nodes.remove(&id(0));
    world
        .run(60_000 + DURATION - RENEWAL - 100)
        .expect("one at a time");
    assert_eq!(world.table.table.held_by(&id(1)).len(), 64);
    world.run(60_000 + DURATION + 1000).expect("one at a time");
    assert_eq!(world.nodes[&id(1)].active, ShardSet::ALL);
}

#[test]
fn one_that_was_robbed_stops_until_its_work_has_ended() {
    let mut world = World::new(3);
    world.calm = true;
    world.start(&id(0));
    world.run(30_000).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].active, ShardSet::ALL);
    world.version += 1;
    world.table = Stored {
        table: Table::all_held_by(ReplicaId::new("a thief")),
        version: world.version,
        exists: true,
    };
    world.tell_all_of_table();
    world.run(30_100).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].open_until, 0);
    // The thief never renews anything.
    world.run(30_000 + DURATION + 1000).expect("one at a time");
    assert_eq!(world.nodes[&id(0)].active, ShardSet::ALL);
    assert!(world.nodes[&id(0)].open_until > world.now);
}

#[test]
fn a_table_that_was_deleted_is_made_again_as_it_was() {
    let mut world = World::new(4);
    world.calm = true;
    world.start(&id(0));
    world.start(&id(1));
    world.run(60_000).expect("one at a time");
    let before = world.table.table.clone();
    world.version += 1;
    world.table = Stored {
        table: Table::default(),
        version: world.version,
        exists: false,
    };
    world.tell_all_of_table();
    world.run(70_000).expect("one at a time");
    assert!(world.table.exists);
    assert_eq!(world.table.table, before);
}
