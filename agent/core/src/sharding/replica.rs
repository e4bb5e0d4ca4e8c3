//! One replica among others: what it may work on, and when it may write at all.
//!
//! Each replica renews its own Lease to show the others that it is alive. The [`Table`] records who holds which shard. A replica
//! takes a shard only if nobody holds it, or if its holder has not renewed its lease for the lease's whole duration, as measured
//! by *this* replica on its own clock. Two clocks are never compared. A replica gives a shard away only once nothing works on it
//! any more. It stops writing by itself when two thirds of the duration have passed since it *sent* its last successful renewal,
//! well before anybody may take what it holds. That is the fence.
//!
//! ```text
//! sent        fence closes      others may take, at the earliest
//! |-- 2/3 of duration --|-- 1/3 for what is on the way --|
//! ```
//!
//! A watch may lag, and a request may arrive long after its sender gave up on it. So a replica that takes from a dead one reads
//! the dead one's Lease once more, after the table and before the write. A fence that has closed opens again only after a
//! renewal, then a write of the table (which makes every other write still in flight fail), and the end of all work on shards
//! that were lost meanwhile. Whichever of taker and owner writes the table second then sees what the other did first.

use std::collections::{BTreeMap, BTreeSet};

use super::{ReplicaId, ShardSet, Table, rebalance};
use crate::machine::Millis;

/// The pause before a failed request about the table is retried.
const RETRY: Millis = 1000;
/// The number of lease durations without a renewal after which the Lease of a replica that holds nothing is deleted.
const FORGOTTEN: Millis = 4;

/// Something that happened. Times are from the replica's own clock, which only goes forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The replica's own Lease was renewed.
    Renewed {
        /// When the request was sent.
        sent: Millis,
        /// Whether writing had stopped before the answer arrived, by any clock.
        lapsed: bool,
    },
    /// The Lease of another replica was seen.
    Member {
        /// The other replica.
        replica: ReplicaId,
        /// A value that differs for each renewal. It is not interpreted as a time.
        renewal: String,
        /// How long a renewal is valid.
        duration: Millis,
    },
    /// The Lease of another replica is gone.
    MemberGone(ReplicaId),
    /// The table was delivered by a watch or as the answer to a write.
    Table(Stored),
    /// The table was read because of [`Effect::Read`].
    Read {
        /// The number of the read.
        number: u64,
        /// The result, or `None` if the table could not be read.
        stored: Option<Stored>,
    },
    /// A write of the table has ended. If it succeeded, [`Event::Table`] came first.
    Wrote {
        /// Whether the table was written.
        done: bool,
    },
    /// The work in progress.
    Busy {
        /// The number of the newest [`Effect::Work`] that has taken effect.
        number: u64,
        /// The shards on which something still works or may begin to.
        shards: ShardSet,
    },
    /// Time has passed.
    Tick,
    /// Everything has to be given away.
    Stop,
}

/// The table as stored in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The table itself.
    pub table: Table,
    /// The resource version: later versions are greater (KEP-5504).
    pub version: u64,
    /// Whether it exists.
    pub exists: bool,
}

/// Something that has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Work on these shards and no others. Answered with [`Event::Busy`].
    Work {
        /// The number of this effect.
        number: u64,
        /// The shards.
        shards: ShardSet,
    },
    /// Writing is allowed until this time.
    Open {
        /// The end of that time.
        until: Millis,
    },
    /// Nothing may be written from now on.
    Close,
    /// Read the table. Answered with [`Event::Read`].
    Read {
        /// The number of the read.
        number: u64,
    },
    /// Write the table if it is unchanged. The write must produce a new version even if nothing else changes. Answered with
    /// [`Event::Wrote`].
    Write {
        /// The table.
        table: Table,
        /// The version to replace, or `None` to create the table.
        replaces: Option<u64>,
        /// The replicas that seem dead and lose shards, each with its last known renewal, or `None` if its Lease is known to be
        /// gone. Their Leases are read first. If any of them differs, nothing is written, and [`Event::Member`] or
        /// [`Event::MemberGone`] reports it.
        robbed: BTreeMap<ReplicaId, Option<String>>,
    },
    /// Delete the Lease of a replica that has long been dead.
    Forget(ReplicaId),
    /// Nothing is held any more, so the replica's own Lease can be deleted.
    Leave,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    renewal: String,
    /// When the renewal, or the absence of the Lease, was first seen here.
    since: Millis,
    duration: Millis,
    /// Whether its Lease exists.
    present: bool,
    /// The time before which its Lease is not deleted, for the first time or again.
    kept_until: Millis,
}

impl Member {
    fn new(renewal: String, since: Millis, duration: Millis, present: bool) -> Self {
        Self {
            renewal,
            since,
            duration,
            present,
            kept_until: since.saturating_add(duration.saturating_mul(FORGOTTEN)),
        }
    }

    const fn expires(&self) -> Millis {
        self.since.saturating_add(self.duration)
    }
}

/// Reads of the table: one at a time, each begun after what required it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    wanted: u64,
    done: u64,
    under_way: Option<u64>,
    not_before: Millis,
}

/// A fence that is waiting to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Opening {
    /// When the newest renewal was sent.
    sent: Millis,
    /// Whether the table has been written since the first of the renewals.
    confirmed: bool,
}

/// The state of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    me: ReplicaId,
    duration: Millis,
    members: BTreeMap<ReplicaId, Member>,
    /// `None` until the table is first read.
    stored: Option<Stored>,
    reading: Reading,
    /// Whether a write is in flight and, if so, whether it began after the renewal that is to open the fence.
    writing: Option<bool>,
    /// The shards given away by writes that may still arrive: those that replace this version.
    giving: (u64, ShardSet),
    open_until: Millis,
    opening: Option<Opening>,
    work: ShardSet,
    number: u64,
    busy: (u64, ShardSet),
    stopping: bool,
    left: bool,
    /// The last result of [`rebalance`] for this replica, with the table version and replicas that it is for. Computing it takes
    /// thousands of digests.
    wanted: Option<(u64, BTreeSet<ReplicaId>, ShardSet)>,
}

impl Replica {
    /// Creates a replica that holds nothing. `duration` is the duration of its Lease.
    pub fn new(me: ReplicaId, duration: Millis) -> Self {
        Self {
            me,
            duration,
            members: BTreeMap::new(),
            stored: None,
            reading: Reading {
                wanted: 0,
                done: 0,
                under_way: None,
                not_before: 0,
            },
            writing: None,
            giving: (0, ShardSet::NONE),
            open_until: 0,
            opening: None,
            work: ShardSet::NONE,
            number: 0,
            busy: (0, ShardSet::NONE),
            stopping: false,
            left: false,
            wanted: None,
        }
    }

    /// Returns how long writing is allowed after a renewal was sent.
    pub const fn fence(duration: Millis) -> Millis {
        duration / 3 * 2
    }

    /// Handles an event and returns what has to be done.
    pub fn step(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Renewed { sent, lapsed } => self.renewed(sent, lapsed, now, &mut effects),
            Event::Member {
                replica,
                renewal,
                duration,
            } => self.member(replica, renewal, duration, now),
            Event::MemberGone(replica) => self.gone(&replica, now),
            Event::Table(stored) => {
                if self
                    .stored
                    .as_ref()
                    .is_some_and(|known| stored.version > known.version)
                {
                    self.take_up(stored, now);
                }
            }
            Event::Read { number, stored } => {
                self.reading.under_way = None;
                match stored {
                    Some(stored) => {
                        self.reading.done = number;
                        // A read that found no table may have overtaken the news that the table was created.
                        let is_news = self.stored.as_ref().is_none_or(|known| {
                            stored.version > known.version
                                || !stored.exists
                                || !known.exists && stored.version == known.version
                        });
                        if is_news {
                            self.take_up(stored, now);
                        }
                    }
                    None => self.reading.not_before = now + RETRY,
                }
            }
            Event::Wrote { done } => {
                let confirms = self.writing.take() == Some(true);
                if let Some(opening) = &mut self.opening
                    && confirms
                {
                    opening.confirmed |= done;
                }
                if !done {
                    self.reading.wanted += 1;
                    self.reading.not_before = now + RETRY / 10;
                }
            }
            Event::Busy { number, shards } => self.busy = (number, shards),
            Event::Tick => {}
            Event::Stop => self.stopping = true,
        }
        self.act(now, &mut effects);
        effects
    }

    /// Returns the next time at which something changes through the passing of time alone.
    pub fn next_wake(&self, now: Millis) -> Option<Millis> {
        let members = self
            .members
            .values()
            .flat_map(|member| [member.expires(), member.kept_until]);
        let retry = (self.reading.done < self.reading.wanted).then_some(self.reading.not_before);
        members
            .chain(retry)
            .chain([self.open_until])
            .filter(|time| *time > now)
            .min()
    }

    /// Returns the shards that this replica holds according to the table.
    pub fn held(&self) -> ShardSet {
        self.stored
            .as_ref()
            .map(|stored| stored.table.held_by(&self.me))
            .unwrap_or_default()
    }

    fn renewed(&mut self, sent: Millis, lapsed: bool, now: Millis, effects: &mut Vec<Effect>) {
        let fence = Self::fence(self.duration);
        if !lapsed && now < self.open_until {
            self.open_until = sent + fence;
            effects.push(Effect::Open {
                until: self.open_until,
            });
            return;
        }
        if now < self.open_until {
            effects.push(Effect::Close);
        }
        self.open_until = 0;
        match &mut self.opening {
            // With no gap since the first renewal, nobody can have considered this replica dead since then.
            Some(opening) if now < opening.sent + fence => opening.sent = sent,
            opening => {
                *opening = Some(Opening {
                    sent,
                    confirmed: false,
                });
                // A write in flight began before this renewal.
                self.writing = self.writing.map(|_| false);
                if self.stored.is_none() {
                    self.reading.wanted += 1;
                }
            }
        }
    }

    fn member(&mut self, replica: ReplicaId, renewal: String, duration: Millis, now: Millis) {
        if replica == self.me {
            return;
        }
        match self.members.get_mut(&replica) {
            // The same renewal, reported again.
            Some(member) if member.renewal == renewal => {
                (member.duration, member.present) = (duration, true);
            }
            _ => {
                let member = Member::new(renewal, now, duration, true);
                self.members.insert(replica, member);
            }
        }
    }

    /// Handles the loss of a Lease. A replica gives everything away before it deletes its Lease. If somebody else deleted it, the
    /// replica may have renewed just before, unseen, and may write on that basis. It therefore gets a whole duration from now on.
    fn gone(&mut self, replica: &ReplicaId, now: Millis) {
        if let Some(member) = self.members.get_mut(replica).filter(|one| one.present) {
            (member.present, member.since) = (false, now);
        }
    }

    fn take_up(&mut self, stored: Stored, now: Millis) {
        match &mut self.stored {
            // Somebody deleted the table. That does not change who works on what, so it is created again as it was.
            Some(known) if !stored.exists => {
                known.version = known.version.max(stored.version);
                known.exists = false;
            }
            known => *known = Some(stored),
        }
        let Some(stored) = &self.stored else {
            return;
        };
        if stored.version > self.giving.0 {
            self.giving.1 = ShardSet::NONE;
        }
        for (holder, _) in stored.table.holders() {
            if *holder != self.me && !self.members.contains_key(holder) {
                // It may have renewed a moment ago, so it gets a whole duration from now on.
                let member = Member::new(String::new(), now, self.duration, false);
                self.members.insert(holder.clone(), member);
            }
        }
    }

    fn act(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.read(now, effects);
        if self.stored.is_none() {
            return;
        }
        let held = self.held();
        let live = self.live(now);
        let wanted = if self.stopping {
            ShardSet::NONE
        } else {
            self.wanted(&live)
        };
        if now < self.open_until && !self.work.or(self.busy.1).without(held).is_empty() {
            // Somebody took our shards, which no replica that follows the rules does.
            (self.open_until, self.opening) = (0, None);
            effects.push(Effect::Close);
        }
        self.assign(held, wanted, now, effects);
        self.open(held, now, effects);
        self.assign(held, wanted, now, effects);
        self.write(held, wanted, now, effects);
        if self.stopping
            && !self.left
            && self.writing.is_none()
            && self.is_quiet(ShardSet::ALL)
            && held.is_empty()
        {
            self.left = true;
            effects.push(Effect::Leave);
        }
        self.forget(&live, now, effects);
    }

    /// Returns the replicas that can hold shards, including this one.
    fn live(&self, now: Millis) -> BTreeSet<ReplicaId> {
        let others = self
            .members
            .iter()
            .filter(|(_, member)| member.present && now < member.expires());
        others
            .map(|(replica, _)| replica)
            .chain([&self.me])
            .cloned()
            .collect()
    }

    fn wanted(&mut self, live: &BTreeSet<ReplicaId>) -> ShardSet {
        let Some(stored) = &self.stored else {
            return ShardSet::NONE;
        };
        match &self.wanted {
            Some((version, known, wanted)) if *version == stored.version && known == live => {
                *wanted
            }
            _ => {
                let all = rebalance(&stored.table, live);
                let wanted = all.get(&self.me).copied().unwrap_or_default();
                self.wanted = Some((stored.version, live.clone(), wanted));
                wanted
            }
        }
    }

    fn read(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let reading = &mut self.reading;
        if reading.done < reading.wanted && reading.under_way.is_none() && now >= reading.not_before
        {
            reading.under_way = Some(reading.wanted);
            effects.push(Effect::Read {
                number: reading.wanted,
            });
        }
    }

    /// Sets the shards to work on. Behind a closed fence, no work begins, and work in progress cannot write anything.
    fn assign(&mut self, held: ShardSet, wanted: ShardSet, now: Millis, effects: &mut Vec<Effect>) {
        let held = held.without(self.giving.1);
        let work = if self.stopping {
            ShardSet::NONE
        } else if now < self.open_until {
            held.and(wanted)
        } else {
            self.work.and(held)
        };
        if work != self.work {
            self.number += 1;
            self.work = work;
            effects.push(Effect::Work {
                number: self.number,
                shards: work,
            });
        }
    }

    fn open(&mut self, held: ShardSet, now: Millis, effects: &mut Vec<Effect>) {
        let Some(opening) = self.opening.filter(|opening| opening.confirmed) else {
            return;
        };
        let until = opening.sent + Self::fence(self.duration);
        if now < until && self.is_quiet(ShardSet::ALL.without(held)) {
            (self.open_until, self.opening) = (until, None);
            effects.push(Effect::Open { until });
        }
    }

    /// Returns whether nothing works on these shards or may begin to.
    fn is_quiet(&self, shards: ShardSet) -> bool {
        let (number, busy) = self.busy;
        number == self.number && busy.and(shards).is_empty()
    }

    fn write(&mut self, held: ShardSet, wanted: ShardSet, now: Millis, effects: &mut Vec<Effect>) {
        let Some(stored) = self.stored.as_ref().filter(|_| self.writing.is_none()) else {
            return;
        };
        if self.reading.done < self.reading.wanted {
            // The known version could not be replaced.
            return;
        }
        let mut table = stored.table.clone();
        let (number, busy) = self.busy;
        // Once a shard has begun to be given away, it stays given away: the request may still arrive.
        let mut give = held.and(self.giving.1);
        if number == self.number {
            give = give.or(held.without(self.work).without(wanted).without(busy));
        }
        table.take(give);
        let mut robbed = BTreeMap::new();
        if now < self.open_until && !self.stopping {
            let mut free = stored.table.free();
            for (holder, shards) in stored.table.holders() {
                if let Some(member) = self.members.get(holder)
                    && now >= member.expires()
                {
                    free = free.or(shards);
                    if !shards.and(wanted).is_empty() {
                        let known = member.present.then(|| member.renewal.clone());
                        robbed.insert(holder.clone(), known);
                    }
                }
            }
            table.give(&self.me, free.and(wanted).without(held));
        }
        let is_lost = !stored.exists && stored.table != Table::default();
        let confirms = self.opening.is_some_and(|opening| !opening.confirmed);
        if table != stored.table || is_lost || confirms {
            self.writing = Some(self.opening.is_some());
            self.giving = (stored.version, give);
            effects.push(Effect::Write {
                table,
                replaces: stored.exists.then_some(stored.version),
                robbed,
            });
        }
    }

    /// Cleans up after dead replicas, if this is the first of the live ones.
    fn forget(&mut self, live: &BTreeSet<ReplicaId>, now: Millis, effects: &mut Vec<Effect>) {
        let Some(stored) = &self.stored else {
            return;
        };
        let holds = |replica: &ReplicaId| !stored.table.held_by(replica).is_empty();
        self.members
            .retain(|replica, member| member.present || holds(replica));
        if self.stopping || live.first() != Some(&self.me) {
            return;
        }
        for (replica, member) in &mut self.members {
            if now >= member.kept_until && !holds(replica) {
                member.kept_until = now.saturating_add(member.duration.saturating_mul(FORGOTTEN));
                effects.push(Effect::Forget(replica.clone()));
            }
        }
    }
}
