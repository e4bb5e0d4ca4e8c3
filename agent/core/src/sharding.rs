//! How replicas divide the applications among themselves: by shards, each held by at most one replica.
//!
//! An application belongs to one of [`SHARDS`] shards for ever, by a digest of its name. One [`Table`] in the cluster records who
//! holds which shard; it is only ever changed by compare-and-swap. [`rebalance`] computes who should hold what, and [`replica`]
//! is the machine that gets there without two replicas ever working on one shard.

pub mod replica;
#[cfg(test)]
mod simulation;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{digest::Digester, names::ApplicationName};

/// The number of shards. It is part of the stored format, so all replicas must agree on it.
pub const SHARDS: u8 = 128;
/// The format of a stored table.
const FORMAT: u32 = 1;

/// One of the parts into which the applications are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// Returns the shard of an application.
    pub fn of(application: &ApplicationName) -> Self {
        Self::spread("shard", &application.namespace, &application.name)
    }

    /// Returns the shard whose holder writes the status of a Plugin.
    pub fn of_plugin(name: &str) -> Self {
        Self::spread("plugin-shard", "", name)
    }

    fn spread(domain: &str, namespace: &str, name: &str) -> Self {
        let digest = Digester::new(domain).part(namespace).part(name).finish();
        Self(digest.as_bytes()[0] % SHARDS)
    }
}

/// A replica of the agent, identified by a name that no other process has at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(String);

impl ReplicaId {
    /// Creates the id of a replica from its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the weight of this replica for a shard, as in rendezvous hashing (Thaler and Ravishankar, 1998): a replica that
    /// comes or goes moves nothing between the others.
    fn weight(&self, shard: Shard) -> u64 {
        let digest = Digester::new("rendezvous")
            .part(&self.0)
            .part([shard.0])
            .finish();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of shards, written as `0-3,7`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ShardSet(u128);

impl ShardSet {
    /// No shard.
    pub const NONE: Self = Self(0);
    /// All shards.
    pub const ALL: Self = Self(u128::MAX >> (128 - SHARDS as u32));

    /// Returns whether a shard is in the set.
    pub const fn contains(self, shard: Shard) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// Returns the set with a shard added.
    #[must_use]
    pub const fn with(self, shard: Shard) -> Self {
        Self(self.0 | (1 << shard.0))
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the intersection of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the shards of this set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of shards in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the shards in order.
    pub fn iter(self) -> impl Iterator<Item = Shard> {
        (0..SHARDS)
            .map(Shard)
            .filter(move |shard| self.contains(*shard))
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        shards.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shards = self.iter().map(|shard| shard.0).peekable();
        let mut first = true;
        while let Some(start) = shards.next() {
            let mut end = start;
            while let Some(next) = shards.next_if(|next| *next == end + 1) {
                end = next;
            }
            if !std::mem::take(&mut first) {
                f.write_str(",")?;
            }
            write!(f, "{start}")?;
            if end > start {
                write!(f, "-{end}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// The reason why a stored table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// It was written by a newer agent.
    #[error(
        "the shards are kept in format {found} with {shards} of them: this version knows format {FORMAT} with {SHARDS}; \
         update this replica, or stop the newer ones first"
    )]
    Version {
        /// The format of the table.
        found: u32,
        /// The number of shards that it has.
        shards: u32,
    },
    /// It is malformed.
    #[error("the shards cannot be read: {0}")]
    Malformed(String),
}

impl FromStr for ShardSet {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let malformed = || {
            TableError::Malformed(format!(
                "`{text}` is no set of shards: expected numbers below {SHARDS} and ranges of them, such as `0-3,7`"
            ))
        };
        let number = |text: &str| {
            let number = text.parse::<u8>().ok();
            number
                .filter(|number| *number < SHARDS)
                .ok_or_else(malformed)
        };
        let mut set = Self::NONE;
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (start, end) = match part.split_once('-') {
                Some((start, end)) => (number(start)?, number(end)?),
                None => (number(part)?, number(part)?),
            };
            if start > end {
                return Err(malformed());
            }
            set = (start..=end).map(Shard).fold(set, Self::with);
        }
        Ok(set)
    }
}

/// The table that records who holds which shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    holders: BTreeMap<ReplicaId, ShardSet>,
}

#[derive(Deserialize)]
struct Stored {
    format: u32,
    shards: u32,
    #[serde(default)]
    holders: BTreeMap<ReplicaId, String>,
}

impl Table {
    /// Creates a table in which one replica holds everything.
    pub fn all_held_by(replica: ReplicaId) -> Self {
        Self {
            holders: BTreeMap::from([(replica, ShardSet::ALL)]),
        }
    }

    /// Parses a stored table.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let stored: Stored =
            serde_json::from_str(text).map_err(|error| TableError::Malformed(error.to_string()))?;
        if stored.format != FORMAT || stored.shards != u32::from(SHARDS) {
            return Err(TableError::Version {
                found: stored.format,
                shards: stored.shards,
            });
        }
        let mut table = Self::default();
        let mut all = ShardSet::NONE;
        for (replica, text) in stored.holders {
            let shards: ShardSet = text.parse()?;
            if !all.and(shards).is_empty() {
                return Err(TableError::Malformed(format!(
                    "{} are held by more than one replica",
                    all.and(shards)
                )));
            }
            all = all.or(shards);
            table.give(&replica, shards);
        }
        Ok(table)
    }

    /// Writes the table for storage.
    pub fn text(&self) -> String {
        let holders = self.holders.iter();
        let holders: BTreeMap<_, _> = holders
            .map(|(replica, shards)| (replica.as_str(), shards.to_string()))
            .collect();
        serde_json::json!({ "format": FORMAT, "shards": SHARDS, "holders": holders }).to_string()
    }

    /// Returns the shards that a replica holds.
    pub fn held_by(&self, replica: &ReplicaId) -> ShardSet {
        self.holders.get(replica).copied().unwrap_or_default()
    }

    /// Returns the replicas that hold shards, and which ones.
    pub fn holders(&self) -> impl Iterator<Item = (&ReplicaId, ShardSet)> {
        self.holders
            .iter()
            .map(|(replica, shards)| (replica, *shards))
    }

    /// Returns the shards that nobody holds.
    pub fn free(&self) -> ShardSet {
        let held = self.holders.values();
        held.fold(ShardSet::ALL, |free, shards| free.without(*shards))
    }

    /// Gives shards to a replica and takes them from their current holders.
    fn give(&mut self, to: &ReplicaId, shards: ShardSet) {
        self.take(shards);
        if !shards.is_empty() {
            let held = self.holders.entry(to.clone()).or_default();
            *held = held.or(shards);
        }
    }

    /// Takes shards from their holders.
    fn take(&mut self, shards: ShardSet) {
        self.holders.retain(|_, held| {
            *held = held.without(shards);
            !held.is_empty()
        });
    }
}

/// Returns which candidate should hold which shards.
///
/// No two loads differ by more than one shard, and no shard moves unless it has to: a candidate keeps what it holds up to its
/// share. Each remaining shard goes to the candidate with room that has the highest weight for it. The result depends only on the
/// arguments, so replicas that see the same table and candidates agree without communicating.
pub fn rebalance(table: &Table, candidates: &BTreeSet<ReplicaId>) -> BTreeMap<ReplicaId, ShardSet> {
    let Ok(count) = u32::try_from(candidates.len()) else {
        return BTreeMap::new();
    };
    if count == 0 {
        return BTreeMap::new();
    }
    let (share, more) = (u32::from(SHARDS) / count, u32::from(SHARDS) % count);
    // Whoever holds more gets the larger share, because that moves the least.
    let mut order: Vec<&ReplicaId> = candidates.iter().collect();
    order.sort_by_key(|replica| std::cmp::Reverse(table.held_by(replica).len()));
    let mut wanted = BTreeMap::new();
    let mut room = BTreeMap::new();
    let mut pool = ShardSet::ALL;
    for (place, replica) in (0..).zip(order) {
        let share = share + u32::from(place < more);
        let mut kept = table.held_by(replica);
        if kept.len() > share {
            let mut held: Vec<Shard> = kept.iter().collect();
            held.sort_by_cached_key(|shard| std::cmp::Reverse(replica.weight(*shard)));
            held.truncate(usize::try_from(share).unwrap_or(usize::MAX));
            kept = held.into_iter().collect();
        }
        pool = pool.without(kept);
        room.insert(replica, share - kept.len());
        wanted.insert(replica.clone(), kept);
    }
    for shard in pool.iter() {
        let best = room
            .iter()
            .filter(|(_, room)| **room > 0)
            .max_by_key(|(replica, _)| replica.weight(shard))
            .map(|(replica, _)| *replica);
        let Some(best) = best else {
            break;
        };
        room.entry(best).and_modify(|room| *room -= 1);
        wanted
            .entry(best.clone())
            .and_modify(|shards| *shards = shards.with(shard));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u8) -> ReplicaId {
        ReplicaId::new(format!("pintle-agent-{number}"))
    }

    fn ids(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<ReplicaId> {
        numbers.into_iter().map(id).collect()
    }

    fn apply(wanted: &BTreeMap<ReplicaId, ShardSet>) -> Table {
        let mut table = Table::default();
        for (replica, shards) in wanted {
            table.give(replica, *shards);
        }
        table
    }

    #[test]
    fn an_application_has_one_shard_for_ever() {
        // Part of the stored format: changing these values moves applications while replicas are running.
        let shard =
            |namespace: &str, name: &str| Shard::of(&ApplicationName::new(namespace, name)).0;
        assert_eq!(
            [shard("shop", "web"), shard("shop", "db"), shard("a", "b")],
            [37, 36, 32]
        );
        assert_ne!(shard("a-b", "c"), shard("a", "b-c"));
    }

    #[test]
    fn applications_are_spread_evenly() {
        let mut counts = [0; SHARDS as usize];
        for number in 0..12_800 {
            let shard = Shard::of(&ApplicationName::new("shop", format!("app-{number}")));
            counts[usize::from(shard.0)] += 1;
        }
        // 100 each on average, with a standard deviation of 10.
        assert!(
            counts.iter().all(|count| (50..150).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn sets_are_written_as_ranges() {
        let set: ShardSet = [0, 1, 2, 7, 126, 127].map(Shard).into_iter().collect();
        assert_eq!(set.to_string(), "0-2,7,126-127");
        assert_eq!("0-2,7,126-127".parse(), Ok(set));
        assert_eq!("".parse(), Ok(ShardSet::NONE));
        assert_eq!(ShardSet::ALL.to_string(), "0-127");
        for bad in ["128", "1-", "-1", "a", "1-200", "3-1", "1 2"] {
            assert!(bad.parse::<ShardSet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_table_is_stored_and_one_of_another_version_is_refused() {
        let mut table = Table::default();
        table.give(&id(1), "0-3".parse().unwrap());
        table.give(&id(2), "4".parse().unwrap());
        insta::assert_snapshot!(table.text(), @r#"{"format":1,"holders":{"pintle-agent-1":"0-3","pintle-agent-2":"4"},"shards":128}"#);
        assert_eq!(Table::parse(&table.text()), Ok(table));
        let said: Vec<String> = [
            r#"{"format":2,"shards":256,"holders":{}}"#,
            r#"{"format":1,"shards":128,"holders":{"a":"0-3","b":"3"}}"#,
            r#"{"format":1,"shards":128,"holders":{"a":"x"}}"#,
            "[]",
        ]
        .map(|text| Table::parse(text).unwrap_err().to_string())
        .to_vec();
        insta::assert_snapshot!(said.join("\n"), @r"
        the shards are kept in format 2 with 256 of them: this version knows format 1 with 128; update this replica, or stop the newer ones first
        the shards cannot be read: 3 are held by more than one replica
        the shards cannot be read: `x` is no set of shards: expected numbers below 128 and ranges of them, such as `0-3,7`
        the shards cannot be read: invalid length 0, expected struct Stored with 3 elements at line 1 column 2
        ");
    }

    #[test]
    fn shards_change_hands() {
        let mut table = Table::all_held_by(id(1));
        assert!(table.free().is_empty());
        table.give(&id(2), "0-9".parse().unwrap());
        assert_eq!(table.held_by(&id(1)).to_string(), "10-127");
        table.take("5-14".parse().unwrap());
        assert_eq!(table.free().to_string(), "5-14");
        table.take(ShardSet::ALL);
        assert_eq!(table, Table::default());
    }

    fn loads_differ_by_at_most_one(wanted: &BTreeMap<ReplicaId, ShardSet>) {
        let loads: Vec<u32> = wanted.values().map(|shards| shards.len()).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= 1, "{loads:?}");
    }

    fn any_table() -> impl Strategy<Value = Table> {
        prop::collection::vec(0..10u8, usize::from(SHARDS)).prop_map(|holders| {
            let mut table = Table::default();
            for (number, holder) in (0..).zip(holders) {
                // 0: nobody.
                if holder > 0 {
                    table.give(&id(holder), ShardSet::NONE.with(Shard(number)));
                }
            }
            table
        })
    }

    proptest! {
        #[test]
        fn each_shard_has_one_holder_and_loads_are_even(table in any_table(), live in prop::collection::btree_set(0..20u8, 1..12)) {
            let wanted = rebalance(&table, &ids(live));
            let mut all = ShardSet::NONE;
            for shards in wanted.values() {
                prop_assert!(all.and(*shards).is_empty());
                all = all.or(*shards);
            }
            prop_assert_eq!(all, ShardSet::ALL);
            loads_differ_by_at_most_one(&wanted);
        }

        #[test]
        fn no_shard_moves_that_need_not(table in any_table(), live in prop::collection::btree_set(0..12u8, 1..8)) {
            let live = ids(live);
            let wanted = rebalance(&table, &live);
            let count = u32::try_from(live.len()).unwrap();
            let (share, mut more) = (u32::from(SHARDS) / count, u32::from(SHARDS) % count);
            let mut loads: Vec<u32> = live.iter().map(|replica| table.held_by(replica).len()).collect();
            loads.sort_unstable_by_key(|load| std::cmp::Reverse(*load));
            // The most that can stay: each keeps what it holds up to its share, and the largest shares go to those that hold the
            // most.
            let can_stay: u32 = loads.iter().map(|load| {
                let share = share + u32::from(more > 0);
                more = more.saturating_sub(1);
                (*load).min(share)
            }).sum();
            let stay: u32 = live.iter().map(|replica| table.held_by(replica).and(wanted[replica]).len()).sum();
            prop_assert_eq!(stay, can_stay);
            // A table that is already balanced stays as it is.
            prop_assert_eq!(rebalance(&apply(&wanted), &live), wanted);
        }

        #[test]
        fn one_that_comes_or_goes_moves_a_share(live in prop::collection::btree_set(0..12u8, 1..8)) {
            let before = apply(&rebalance(&Table::default(), &ids(live.iter().copied())));
            let more = ids(live.iter().copied().chain([99]));
            let after = rebalance(&before, &more);
            let count = u32::try_from(more.len()).unwrap();
            let moved: u32 = before.holders().map(|(replica, held)| held.without(after[replica]).len()).sum();
            prop_assert!(moved <= u32::from(SHARDS).div_ceil(count));
            prop_assert_eq!(moved, after[&id(99)].len());
            // When it leaves again, only what it held moves.
            let back = rebalance(&apply(&after), &ids(live.iter().copied()));
            for (replica, shards) in &back {
                prop_assert!(after[replica].without(*shards).is_empty());
            }
        }

        #[test]
        fn a_table_survives_storage(table in any_table()) {
            prop_assert_eq!(Table::parse(&table.text()), Ok(table));
        }
    }
}
