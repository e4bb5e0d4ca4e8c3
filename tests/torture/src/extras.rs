//! Additional parts of a schedule: replicas, hooks, charts, what goes wrong with them, and objects that move.
//!
//! They have a random stream of their own, so that existing seeds keep their meaning.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::model::{Desired, Key, Kind, hook};
use crate::schedule::{Act, Schedule};

/// Added to a seed for the second random stream.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;
/// The maximum number of replicas that share the applications of a schedule.
pub(crate) const REPLICAS: usize = 3;
/// The maximum number of acts that a paused replica misses.
const PAUSE: usize = 4;
/// In how many of every four seeds objects move. The other seeds, among them those that once found something, are as they were
/// before objects could move.
const MOVING: u64 = 2;

/// Adds the parts that a schedule's seed determines.
pub(crate) fn add(schedule: &mut Schedule) {
    let mut random = StdRng::seed_from_u64(schedule.seed.wrapping_add(APART));
    hooks(schedule, &mut random);
    charts(schedule, &mut random);
    schedule.replicas = match random.random_range(0..10) {
        0..=5 => 1,
        6..=8 => 2,
        _ => REPLICAS,
    };
    if schedule.replicas > 1 {
        schedule.leased = true;
        spread(schedule, &mut random);
    }
    for _ in 0..random.random_range(0..=2) {
        trouble(schedule, &mut random);
    }
    if schedule.seed % 4 < MOVING {
        moves(schedule, &mut random);
    }
}

/// Gives some applications a hook, which some commits change.
fn hooks(schedule: &mut Schedule, random: &mut StdRng) {
    let names = schedule.first.applications.keys().cloned();
    let hooked: Vec<String> = names.filter(|_| random.random_bool(0.3)).collect();
    for name in hooked {
        let mut version = 1;
        let put = |desired: &mut Desired, version| {
            if let Some(objects) = desired.applications.get_mut(&name) {
                objects.insert(hook(&name), version);
            }
        };
        put(&mut schedule.first, version);
        for act in &mut schedule.acts {
            if let Act::Commit(desired) = act {
                version += u32::from(random.random_bool(0.4));
                put(desired, version);
            }
        }
    }
}

/// Turns some applications into charts. Their renderer takes long to be compiled again, so this never happens where compiled
/// plugins are deleted.
fn charts(schedule: &mut Schedule, random: &mut StdRng) {
    let wipes = |act: &Act| matches!(act, Act::WipeCache { compiled: true, .. });
    let names = schedule.first.applications.keys().cloned();
    let charted = names.filter(|_| random.random_bool(0.2)).collect();
    if !schedule.acts.iter().any(wipes) {
        schedule.charted = charted;
    }
}

/// Chooses the replica for acts that affect one.
fn spread(schedule: &mut Schedule, random: &mut StdRng) {
    let replicas = schedule.replicas;
    for act in &mut schedule.acts {
        match act {
            Act::Kill { replica, .. }
            | Act::Clock { replica, .. }
            | Act::DiskFull { replica, .. }
            | Act::WipeCache { replica, .. } => *replica = random.random_range(0..replicas),
            _ => {}
        }
    }
}

/// Makes one replica stop, stand still for a while, or lose its lease to somebody else.
fn trouble(schedule: &mut Schedule, random: &mut StdRng) {
    let replica = random.random_range(0..schedule.replicas);
    let at = (0..=schedule.acts.len()).choose(random).unwrap_or_default();
    match random.random_range(0..4) {
        0 => schedule.acts.insert(at, Act::Stop { replica }),
        1 if schedule.leased => {
            let seconds = random.random_range(1..=3);
            schedule.acts.insert(at, Act::Steal { seconds });
        }
        _ => {
            schedule.acts.insert(at, Act::Pause { replica });
            let missed = random.random_range(1..=PAUSE);
            let rest = schedule.acts.iter().skip(at + 1).take(missed);
            // This act waits for something that only an agent does.
            let missed = rest
                .take_while(|act| !matches!(act, Act::MakeApplication(_)))
                .count();
            schedule
                .acts
                .insert(at + 1 + missed, Act::Resume { replica });
        }
    }
}

/// Moves some objects to another application, each in one commit. From then on they belong to that application.
fn moves(schedule: &mut Schedule, random: &mut StdRng) {
    let steady = steady(schedule);
    for _ in 0..random.random_range(1..=3) {
        let is_commit = |at: &usize| commit(&schedule.acts[*at]).is_some();
        let commits = (0..schedule.acts.len()).filter(is_commit);
        let Some(at) = commits.choose(random) else {
            return;
        };
        let from = steady.iter().choose(random);
        let to = steady.iter().filter(|to| Some(*to) != from).choose(random);
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        if let Some(key) = movable(schedule, at, from).into_iter().choose(random) {
            relocate(&mut schedule.acts[at..], &key, from, to);
        }
    }
}

/// Returns the applications between which an object may move without being deleted. None of them is suspended or deleted at any
/// time, because such an application counts with what it rendered last. None is a chart, because charts follow no branch.
fn steady(schedule: &Schedule) -> Vec<String> {
    let is_disturbed = |name: &String| {
        schedule.acts.iter().any(|act| match act {
            Act::Suspend(disturbed, _)
            | Act::DeleteApplication(disturbed)
            | Act::MakeApplication(disturbed) => disturbed == name,
            _ => false,
        })
    };
    let names = schedule.first.applications.keys();
    names
        .filter(|name| !schedule.charted.contains(*name) && !is_disturbed(name))
        .cloned()
        .collect()
}

/// Returns the objects that an application can lose to another one in a commit: it had them before, and always has others. An
/// object whose label is removed by hand is excluded: in the meantime it could be mistaken for one that belongs to no
/// application, which no application takes over.
fn movable(schedule: &Schedule, at: usize, from: &str) -> Vec<Key> {
    let (earlier, later) = schedule.acts.split_at(at);
    let before = earlier.iter().filter_map(commit).next_back();
    let before = before.unwrap_or(&schedule.first).applications.get(from);
    let later: Vec<&BTreeMap<Key, u32>> = later
        .iter()
        .filter_map(|act| commit(act)?.applications.get(from))
        .collect();
    let is_unlabelled = |key: &Key| {
        let mut acts = schedule.acts.iter();
        acts.any(|act| matches!(act, Act::Unlabel(one) if one == key))
    };
    let leaves_others = |key: &Key| {
        let is_other = |other: &Key| other != key && other.kind != Kind::Job;
        later.iter().all(|objects| objects.keys().any(is_other))
    };
    let has = |key: &Key| {
        let first = later.first();
        first.is_some_and(|objects| objects.contains_key(key))
    };
    let keys = before.into_iter().flat_map(BTreeMap::keys);
    keys.filter(|key| key.kind != Kind::Job && has(key))
        .filter(|key| leaves_others(key) && !is_unlabelled(key))
        .cloned()
        .collect()
}

/// Gives an object to another application, in its next version, in every commit from now on in which the first application has
/// it.
fn relocate(acts: &mut [Act], key: &Key, from: &str, to: &str) {
    for act in acts {
        let Act::Commit(desired) = act else {
            continue;
        };
        let objects = desired.applications.get_mut(from);
        let Some(version) = objects.and_then(|objects| objects.remove(key)) else {
            continue;
        };
        if let Some(objects) = desired.applications.get_mut(to) {
            objects.insert(key.clone(), version + 1);
        }
    }
}

fn commit(act: &Act) -> Option<&Desired> {
    match act {
        Act::Commit(desired) => Some(desired),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the application that has an object.
    fn owner<'a>(desired: &'a Desired, key: &Key) -> Option<(&'a String, u32)> {
        let mut applications = desired.applications.iter();
        applications.find_map(|(name, objects)| Some((name, *objects.get(key)?)))
    }

    #[test]
    fn objects_move_between_applications_that_are_never_disturbed() {
        let mut moved = 0;
        for seed in 0..500 {
            let schedule = Schedule::from_seed(seed);
            let steady = steady(&schedule);
            let mut before = &schedule.first;
            for desired in schedule.acts.iter().filter_map(commit) {
                let all = before.applications.values();
                for key in all.flat_map(BTreeMap::keys) {
                    let (Some(old), Some(new)) = (owner(before, key), owner(desired, key)) else {
                        continue;
                    };
                    assert!(old.1 <= new.1, "seed {seed}: {key}");
                    if old.0 != new.0 {
                        assert!(seed % 4 < MOVING, "seed {seed}: {key}");
                        assert!(steady.contains(old.0) && steady.contains(new.0));
                        moved += u32::from(old.1 < new.1);
                    }
                }
                before = desired;
            }
        }
        assert!(moved > 20, "{moved}");
    }

    #[test]
    fn every_kind_of_trouble_comes_up_and_whoever_stands_still_goes_on() {
        let mut replicas = [0; REPLICAS + 1];
        let (mut charted, mut hooked) = (0, 0);
        for seed in 0..500 {
            let schedule = Schedule::from_seed(seed);
            replicas[schedule.replicas] += 1;
            charted += schedule.charted.len();
            let first = schedule.first.applications.iter();
            hooked += first
                .filter(|(name, objects)| objects.contains_key(&hook(name)))
                .count();
            assert!(schedule.replicas == 1 || schedule.leased);
            let mut paused = Vec::new();
            for act in &schedule.acts {
                match act {
                    Act::Pause { replica } => paused.push(*replica),
                    Act::Resume { replica } => paused.retain(|paused| paused != replica),
                    Act::MakeApplication(_) => assert!(paused.is_empty(), "seed {seed}"),
                    _ => {}
                }
            }
            assert!(paused.is_empty(), "seed {seed}");
        }
        assert!(
            replicas[1..].iter().all(|count| *count > 20),
            "{replicas:?}"
        );
        assert!(charted > 50 && hooked > 50, "{charted} {hooked}");
    }
}
