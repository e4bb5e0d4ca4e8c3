//! What a schedule has besides: replicas, hooks, charts, and what goes wrong with them.
//!
//! Its randomness is apart from that of the rest, so that what a seed meant before stays as it was.

use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::model::{Desired, hook};
use crate::schedule::{Act, Schedule};

/// Added to a seed for the second stream of randomness.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;
/// The most replicas that share the applications of a schedule.
pub(crate) const REPLICAS: usize = 3;
/// How many acts a paused replica misses at most.
const PAUSE: usize = 4;

/// Adds to a schedule what its seed says of it.
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

/// Lets some applications be charts. What renders them takes long to be compiled anew, so never where that is deleted.
fn charts(schedule: &mut Schedule, random: &mut StdRng) {
    let wipes = |act: &Act| matches!(act, Act::WipeCache { compiled: true, .. });
    let names = schedule.first.applications.keys().cloned();
    let charted = names.filter(|_| random.random_bool(0.2)).collect();
    if !schedule.acts.iter().any(wipes) {
        schedule.charted = charted;
    }
}

/// Says which replica is meant where one is.
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

/// Lets one replica stop, stand still for a while, or be robbed of its lease.
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
            // This one waits for what only an agent does.
            let missed = rest
                .take_while(|act| !matches!(act, Act::MakeApplication(_)))
                .count();
            schedule
                .acts
                .insert(at + 1 + missed, Act::Resume { replica });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
