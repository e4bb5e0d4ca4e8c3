//! What happens in a schedule. All of it follows from a seed.

use pintle_core::machine::Millis;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::catalog::{APPLICATIONS, OBJECTS, Slot, VERSIONS};
use crate::run::Wanted;

/// One thing that people do, or that goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// From now on git has this, by application.
    Commit(Vec<Wanted>),
    Edit(Slot),
    Remove(Slot),
    Make(usize),
    Respecify(usize),
    Suspend(usize, bool),
    Delete(usize),
    Kill(usize),
    /// All watches expire.
    Expire,
    /// Somebody else holds the lease for this long.
    Steal(Millis),
}

#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) after: Millis,
    pub(crate) act: Act,
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) replicas: usize,
    pub(crate) first: Vec<Wanted>,
    /// How many of a hundred requests fail in some way.
    pub(crate) weather: u8,
    pub(crate) acts: Vec<Timed>,
}

impl Schedule {
    pub(crate) fn from_seed(seed: u64) -> Self {
        // The world draws from the seed itself.
        let mut random = StdRng::seed_from_u64(!seed);
        let count = random.random_range(1..=APPLICATIONS);
        let mut git = vec![Wanted::new(); APPLICATIONS];
        for (application, wanted) in git.iter_mut().enumerate().take(count) {
            for object in 0..OBJECTS {
                if object == 1 || random.random_bool(0.5) {
                    wanted.push((application * OBJECTS + object, 0));
                }
            }
        }
        let first = git.clone();
        let mut acts = Vec::new();
        for _ in 0..random.random_range(1..=8) {
            let after = match random.random_range(0..4) {
                0 => 0,
                1 | 2 => random.random_range(0..100),
                _ => random.random_range(0..20_000),
            };
            let application = random.random_range(0..count);
            let slot = application * OBJECTS + random.random_range(0..OBJECTS);
            let act = match random.random_range(0..20) {
                0..=6 => {
                    for _ in 0..random.random_range(1..4) {
                        change(&mut git, count, &mut random);
                    }
                    Act::Commit(git.clone())
                }
                7 | 8 => Act::Edit(slot),
                9 | 10 => Act::Remove(slot),
                11 => Act::Respecify(application),
                12 => Act::Suspend(application, random.random_bool(0.5)),
                13 => Act::Delete(application),
                14 => Act::Make(application),
                15..=17 => Act::Kill(random.random_range(0..3)),
                18 => Act::Expire,
                _ => Act::Steal(random.random_range(0..20_000)),
            };
            acts.push(Timed { after, act });
        }
        let weather = match random.random_range(0..3) {
            0 => 0,
            _ => random.random_range(1..40),
        };
        Self {
            seed,
            replicas: random.random_range(1..=2),
            first,
            weather,
            acts,
        }
    }

    /// Returns the schedule without one of its acts.
    pub(crate) fn without(&self, act: usize) -> Self {
        let mut less = self.clone();
        less.acts.remove(act);
        less
    }
}

/// Changes, adds or drops one object.
fn change(git: &mut [Wanted], count: usize, random: &mut StdRng) {
    let application = random.random_range(0..count);
    let slot = application * OBJECTS + random.random_range(0..OBJECTS);
    let wanted = &mut git[application];
    match wanted.iter().position(|(wanted, _)| *wanted == slot) {
        Some(at) if random.random_bool(0.4) && wanted.len() > 1 => {
            wanted.remove(at);
        }
        Some(at) => {
            let versions = u8::try_from(VERSIONS).unwrap_or(u8::MAX);
            wanted[at].1 = (wanted[at].1 + 1) % versions;
        }
        None => wanted.push((slot, 0)),
    }
}
