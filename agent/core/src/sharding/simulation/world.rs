//! The simulated world: the replicas, the server, and the messages between them.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::machine::Millis;
use crate::sharding::{
    ReplicaId, ShardSet, Table,
    replica::{Effect, Event, Replica, Stored},
};

pub(super) const DURATION: Millis = 15_000;
pub(super) const RENEWAL: Millis = DURATION / 3;

/// `SplitMix64`: each seed gives one world.
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

/// Something that arrives at a replica, or that the replica does at a certain time.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    Machine(Event),
    /// A watch reports a Lease as of a version, or that it was gone.
    Watched {
        version: u64,
        lease: ReplicaId,
        event: Event,
    },
    /// Sends a renewal and schedules the next one.
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
    /// Reads the Leases of the replicas from which shards are taken, then writes.
    VerifyAtServer {
        table: Table,
        replaces: Option<u64>,
        robbed: BTreeMap<ReplicaId, Option<String>>,
    },
    WriteAtServer {
        table: Table,
        replaces: Option<u64>,
    },
    ForgetAtServer(ReplicaId),
    LeaveAtServer,
    /// The controller is told what to work on.
    Told {
        number: u64,
        shards: ShardSet,
    },
    /// What it was working on has ended.
    Drained {
        number: u64,
    },
}

pub(super) struct Node {
    machine: Replica,
    /// Distinguishes a process from an earlier one with the same name.
    process: u64,
    pub(super) paused_until: Millis,
    pub(super) open_until: Millis,
    work: (u64, ShardSet),
    pub(super) active: ShardSet,
    /// The next time at which it looks at its clock.
    tick: Millis,
    /// The version up to which its watch has reported each Lease. A watch reports the changes of one object in order.
    watched: BTreeMap<ReplicaId, u64>,
}

/// The error text when two replicas work on one shard.
pub(super) type Broken = String;

pub(super) struct World {
    pub(super) now: Millis,
    random: Random,
    order: u64,
    queue: BTreeMap<Reverse<(Millis, u64)>, (ReplicaId, u64, Arrival)>,
    pub(super) nodes: BTreeMap<ReplicaId, Node>,
    pub(super) leases: BTreeMap<ReplicaId, u64>,
    pub(super) table: Stored,
    pub(super) version: u64,
    processes: u64,
    pub(super) calm: bool,
    pub(super) writes: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
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

    /// Returns a delay: mostly short, sometimes long.
    fn delay(&mut self) -> Millis {
        match self.random.below(if self.calm { 8 } else { 20 }) {
            0..=8 => 1 + self.random.below(30),
            9..=17 => 1 + self.random.below(1500),
            _ => 1 + self.random.below(12_000),
        }
    }

    pub(super) fn send(&mut self, to: &ReplicaId, after: Millis, what: Arrival) {
        let Some(node) = self.nodes.get(to) else {
            return;
        };
        self.order += 1;
        let key = Reverse((self.now + after, self.order));
        self.queue.insert(key, (to.clone(), node.process, what));
    }

    pub(super) fn start(&mut self, id: &ReplicaId) {
        self.processes += 1;
        let node = Node {
            machine: Replica::new(id.clone(), DURATION),
            process: self.processes,
            paused_until: 0,
            open_until: 0,
            work: (0, ShardSet::NONE),
            active: ShardSet::NONE,
            tick: 0,
            watched: BTreeMap::new(),
        };
        self.nodes.insert(id.clone(), node);
        let leases: Vec<_> = self.leases.keys().cloned().collect();
        for lease in leases {
            self.tell_lease(id, &lease);
        }
        self.send(id, 1, Arrival::Renew);
    }

    /// Returns the event for a Lease that has this renewal or does not exist.
    fn seen(of: &ReplicaId, renewal: Option<String>) -> Event {
        let replica = of.clone();
        match renewal {
            Some(renewal) => Event::Member {
                replica,
                renewal,
                duration: DURATION,
            },
            None => Event::MemberGone(replica),
        }
    }

    fn tell_lease(&mut self, to: &ReplicaId, of: &ReplicaId) {
        let event = Self::seen(of, self.leases.get(of).map(ToString::to_string));
        if to != of {
            let after = self.delay();
            let what = Arrival::Watched {
                version: self.version,
                lease: of.clone(),
                event,
            };
            self.send(to, after, what);
        }
    }

    fn tell_all_of_lease(&mut self, of: &ReplicaId) {
        for to in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.tell_lease(&to, of);
        }
    }

    pub(super) fn delete_lease(&mut self, of: &ReplicaId) {
        self.version += 1;
        self.leases.remove(of);
        self.tell_all_of_lease(of);
    }

    pub(super) fn tell_all_of_table(&mut self) {
        for to in self.nodes.keys().cloned().collect::<Vec<_>>() {
            let after = self.delay();
            let event = Event::Table(self.table.clone());
            self.send(&to, after, Arrival::Machine(event));
        }
    }

    /// Returns whether an answer is lost.
    fn is_lost(&mut self) -> bool {
        !self.calm && self.random.below(12) == 0
    }

    fn arrive(&mut self, id: &ReplicaId, what: Arrival) {
        let event = match what {
            Arrival::Machine(event) => event,
            Arrival::Watched {
                version,
                lease,
                event,
            } => {
                let node = self.nodes.get_mut(id).expect("it is alive");
                let told = node.watched.entry(lease).or_default();
                if version < *told {
                    return;
                }
                *told = version;
                event
            }
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
                self.delete_lease(&other);
                return;
            }
            Arrival::LeaveAtServer => {
                self.delete_lease(id);
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
        robbed: &BTreeMap<ReplicaId, Option<String>>,
    ) {
        let found = robbed.iter().map(|(robbed, known)| {
            let renewal = self.leases.get(robbed).map(ToString::to_string);
            (renewal != *known).then(|| Self::seen(robbed, renewal))
        });
        let news: Vec<Event> = found.flatten().collect();
        let after = self.delay();
        if news.is_empty() {
            self.send(id, after, Arrival::WriteAtServer { table, replaces });
            return;
        }
        for event in news {
            self.send(id, after, Arrival::Machine(event));
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

    /// Advances to a time. At each step, at most one replica may write for each shard.
    pub(super) fn run(&mut self, until: Millis) -> Result<(), Broken> {
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
