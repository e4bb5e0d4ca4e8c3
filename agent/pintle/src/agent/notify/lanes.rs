//! Messages that wait to be delivered: one lane for each notifier of an application, with limits for each lane and each tenant.
//!
//! In a lane, one letter is tried at a time, and the one that is due first comes first. A letter that has to be retried makes way
//! for the others. A lane exists as long as there is something in it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How many letters one lane holds.
const LANE: usize = 20;

/// How many bytes all letters of one tenant may have together.
const ROOM: usize = 8 << 20;

/// How many letters of one tenant are tried at once: a quarter of the notifier calls that can run.
const TURNS: usize = 2;

/// The minimum time between two reports of how many letters were given up.
const BETWEEN: Duration = Duration::from_mins(10);

/// The name of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneName {
    /// The tenant.
    pub(super) namespace: String,
    pub(super) application: String,
    /// The position of the notifier among those of the application. Different settings do not make a lane of their own.
    pub(super) position: usize,
}

/// All waiting letters.
#[derive(Debug)]
pub(super) struct Lanes<T>(Mutex<Tenants<T>>);

/// The tenants, by namespace.
type Tenants<T> = BTreeMap<String, Tenant<T>>;

#[derive(Debug)]
struct Tenant<T> {
    lanes: BTreeMap<(String, usize), Lane<T>>,
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Lane<T> {
    /// The letters in the order in which they arrived.
    letters: BTreeMap<u64, Waiting<T>>,
    came: u64,
    lost: Option<Lost>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting<T> {
    letter: Arc<T>,
    /// `None` while it is being tried.
    due: Option<Instant>,
    tried: u32,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Lost {
    letters: usize,
    since: Instant,
}

/// What to do next in a lane.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Try this letter.
    Try {
        /// Distinguishes it from the others in its lane.
        number: u64,
        /// How often it has been tried, including this time.
        tried: u32,
        letter: Arc<T>,
    },
    /// Report that this many letters were given up.
    Lost(usize),
}

/// What was in a lane.
#[derive(Debug)]
pub(super) struct Left<T> {
    pub(super) letters: Vec<Arc<T>>,
    /// How many letters had been given up without a report.
    pub(super) lost: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Lanes<T> {
    /// Puts a letter into its lane. If the lane is full, the oldest letter that is not being tried is given up. If the tenant's
    /// letters are too large together, this letter is given up.
    ///
    /// If the lane is new, returns the turns of the tenant: the caller then has to work on the lane in these turns.
    pub(super) fn post(&self, name: &LaneName, letter: T, bytes: usize) -> Option<Arc<Semaphore>> {
        let now = Instant::now();
        let mut tenants = self.lock();
        let tenant = tenants.entry(name.namespace.clone()).or_default();
        let key = name.within_tenant();
        let is_new = !tenant.lanes.contains_key(&key);
        let lane = tenant.lanes.entry(key).or_default();
        if lane.letters.len() >= LANE {
            lane.lose_oldest(now);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match Arc::clone(&tenant.room).try_acquire_many_owned(bytes) {
            Ok(room) => lane.add(letter, room, now),
            Err(_) => lane.lose(now),
        }
        lane.changed.notify_one();
        is_new.then(|| Arc::clone(&tenant.turns))
    }

    /// Waits until something is to be done in a lane. Returns `None` once the lane has come to its end. Only one task may work on
    /// a lane.
    pub(super) async fn next(&self, name: &LaneName) -> Option<Next<T>> {
        loop {
            let (due, changed) = {
                let mut tenants = self.lock();
                let lane = find(&mut tenants, name)?;
                if let Some(next) = lane.next(Instant::now()) {
                    return Some(next);
                }
                let Some(due) = lane.due() else {
                    remove(&mut tenants, name);
                    return None;
                };
                (due, Arc::clone(&lane.changed))
            };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = changed.notified() => {}
            }
        }
    }

    /// Removes a letter that was tried from its lane.
    pub(super) fn done(&self, name: &LaneName, number: u64) {
        let mut tenants = self.lock();
        if let Some(lane) = find(&mut tenants, name) {
            lane.letters.remove(&number);
        }
    }

    /// Keeps a letter that was tried in its lane until it is due again.
    pub(super) fn again(&self, name: &LaneName, number: u64, due: Instant) {
        let mut tenants = self.lock();
        let lane = find(&mut tenants, name);
        if let Some(waiting) = lane.and_then(|lane| lane.letters.get_mut(&number)) {
            waiting.due = Some(due);
        }
    }

    /// Ends a lane, whatever is in it.
    pub(super) fn close(&self, name: &LaneName) -> Left<T> {
        let lane = remove(&mut self.lock(), name).unwrap_or_default();
        let letters = lane.letters.into_values();
        Left {
            letters: letters.map(|waiting| waiting.letter).collect(),
            lost: lane.lost.map_or(0, |lost| lost.letters),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tenants<T>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'t, T>(tenants: &'t mut Tenants<T>, name: &LaneName) -> Option<&'t mut Lane<T>> {
    let tenant = tenants.get_mut(&name.namespace)?;
    tenant.lanes.get_mut(&name.within_tenant())
}

fn remove<T>(tenants: &mut Tenants<T>, name: &LaneName) -> Option<Lane<T>> {
    let tenant = tenants.get_mut(&name.namespace)?;
    let lane = tenant.lanes.remove(&name.within_tenant());
    if tenant.lanes.is_empty() {
        tenants.remove(&name.namespace);
    }
    lane
}

impl LaneName {
    fn within_tenant(&self) -> (String, usize) {
        (self.application.clone(), self.position)
    }
}

impl<T> Default for Tenant<T> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            room: Arc::new(Semaphore::new(ROOM)),
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            letters: BTreeMap::new(),
            came: 0,
            lost: None,
            changed: Arc::default(),
        }
    }
}

impl<T> Lane<T> {
    fn add(&mut self, letter: T, room: OwnedSemaphorePermit, now: Instant) {
        let waiting = Waiting {
            letter: Arc::new(letter),
            due: Some(now),
            tried: 0,
            _room: room,
        };
        self.letters.insert(self.came, waiting);
        self.came += 1;
    }

    fn lose_oldest(&mut self, now: Instant) {
        let oldest = self.letters.iter().find(|(_, one)| one.due.is_some());
        if let Some(number) = oldest.map(|(number, _)| *number) {
            self.letters.remove(&number);
            self.lose(now);
        }
    }

    fn lose(&mut self, now: Instant) {
        let lost = self.lost.get_or_insert(Lost {
            letters: 0,
            since: now,
        });
        lost.letters += 1;
    }

    /// Returns what is to be done now. Lost letters are reported from time to time, and at the end.
    fn next(&mut self, now: Instant) -> Option<Next<T>> {
        let is_end = self.letters.is_empty();
        let lost = self.lost.take_if(|lost| is_end || lost.told_at() <= now);
        if let Some(lost) = lost {
            return Some(Next::Lost(lost.letters));
        }
        let waiting = self.letters.iter_mut().filter(|(_, one)| one.due.is_some());
        let (number, waiting) = waiting.min_by_key(|(_, one)| one.due)?;
        waiting.due.take_if(|due| *due <= now)?;
        waiting.tried += 1;
        Some(Next::Try {
            number: *number,
            tried: waiting.tried,
            letter: Arc::clone(&waiting.letter),
        })
    }

    /// Returns when something is to be done, if nothing is to be done now.
    fn due(&self) -> Option<Instant> {
        let letters = self.letters.values().filter_map(|one| one.due);
        let lost = self.lost.as_ref().map(Lost::told_at);
        letters.chain(lost).min()
    }
}

impl Lost {
    fn told_at(&self) -> Instant {
        self.since + BETWEEN
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LATER: Duration = Duration::from_hours(1);

    fn lane(namespace: &str, application: &str) -> LaneName {
        LaneName {
            namespace: namespace.to_owned(),
            application: application.to_owned(),
            position: 0,
        }
    }

    /// Returns the number of the letter that is to be tried now, how often it has been tried, and the letter.
    fn tried(lanes: &Lanes<usize>, name: &LaneName) -> (u64, u32, usize) {
        match lanes.next(name).now_or_never() {
            Some(Some(Next::Try {
                number,
                tried,
                letter,
            })) => (number, tried, *letter),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn one_letter_makes_way_for_the_next_until_it_is_due_again() {
        let (lanes, shop) = (Lanes::default(), lane("team", "shop"));
        assert!(lanes.post(&shop, 1, 10).is_some(), "somebody has to work");
        assert!(lanes.post(&shop, 2, 10).is_none(), "somebody does");
        let (first, times, letter) = tried(&lanes, &shop);
        assert_eq!((times, letter), (1, 1));
        lanes.again(&shop, first, Instant::now() + LATER);
        let (second, times, letter) = tried(&lanes, &shop);
        assert_eq!((times, letter), (1, 2));
        lanes.done(&shop, second);
        assert!(lanes.next(&shop).now_or_never().is_none(), "1 has to wait");
        lanes.again(&shop, first, Instant::now());
        assert_eq!(tried(&lanes, &shop), (first, 2, 1));
        lanes.done(&shop, first);
        assert!(lanes.next(&shop).await.is_none(), "that was all");
        assert!(lanes.post(&shop, 3, 10).is_some(), "a lane of its own");
    }

    #[tokio::test]
    async fn a_lane_keeps_what_is_newest_and_counts_what_it_gives_up() {
        let (lanes, shop) = (Lanes::default(), lane("team", "shop"));
        lanes.post(&shop, 0, 1);
        let (number, ..) = tried(&lanes, &shop);
        for letter in 1..=LANE + 4 {
            lanes.post(&shop, letter, 1);
        }
        // The letter that is being tried stays.
        lanes.done(&shop, number);
        for letter in 6..=LANE + 4 {
            let (number, _, kept) = tried(&lanes, &shop);
            assert_eq!(kept, letter);
            lanes.done(&shop, number);
        }
        assert!(matches!(lanes.next(&shop).await, Some(Next::Lost(5))));
        assert!(lanes.next(&shop).await.is_none());
    }

    #[test]
    fn what_is_lost_is_told_from_time_to_time_while_others_wait() {
        let (now, room) = (Instant::now(), Arc::new(Semaphore::new(1)));
        let mut lane = Lane::default();
        lane.add(1, room.try_acquire_owned().unwrap(), now + LATER * 2);
        lane.lose(now);
        lane.lose(now);
        assert!(lane.next(now).is_none());
        assert_eq!(lane.due(), Some(now + BETWEEN));
        let told = lane.next(now + BETWEEN);
        assert!(matches!(told, Some(Next::Lost(2))), "{told:?}");
        assert_eq!(lane.due(), Some(now + LATER * 2));
    }

    #[tokio::test]
    async fn a_tenant_takes_no_room_and_no_turns_of_another() {
        let lanes = Lanes::default();
        let (shop, docs, other) = (
            lane("team", "shop"),
            lane("team", "docs"),
            lane("other", "shop"),
        );
        let turns = lanes.post(&shop, 1, ROOM).unwrap();
        let same = lanes.post(&docs, 2, 1).unwrap();
        assert!(Arc::ptr_eq(&turns, &same));
        let lost = lanes.next(&docs).await;
        assert!(matches!(lost, Some(Next::Lost(1))), "{lost:?}");
        let others = lanes.post(&other, 3, 1).unwrap();
        assert_eq!(tried(&lanes, &other), (0, 1, 3));
        let hung: Vec<_> = (0..TURNS).map(|_| turns.try_acquire().unwrap()).collect();
        assert!(same.try_acquire().is_err());
        assert!(others.try_acquire().is_ok());
        drop(hung);

        let left = lanes.close(&shop);
        assert_eq!((left.letters, left.lost), (vec![Arc::new(1)], 0));
        lanes.post(&docs, 4, ROOM);
        assert_eq!(tried(&lanes, &docs), (0, 1, 4), "there is room again");
    }
}
