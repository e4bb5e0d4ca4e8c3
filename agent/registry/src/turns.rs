//! Turns that limit how many callers ask one host at the same time.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pintle_core::digest::{Digest, Digester};
use tokio::{sync::oneshot, time};

use crate::{error::Cause, rests::Rests};

/// The most pulls, pushes and queries in flight with one host.
const PER_HOST: usize = 5;

/// Turns with registries and chart repositories. Clones share them.
///
/// Hosts do not affect each other: a caller that asks one waits for no other, however many of them are slow. A caller that
/// waits for a host that cannot be reached, or does not answer, gets the failure of the caller that asked it; otherwise a
/// thousand would find out one after another. So does a caller that would ask a host that wants to be left alone, until the
/// pause that the host asked for is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    hosts: SharedHosts,
}

type SharedHosts = Arc<Mutex<Hosts>>;

#[derive(Debug, Default)]
struct Hosts {
    /// The hosts that somebody asks, or waits for.
    asked: HashMap<String, Host>,
    rests: Rests,
}

#[derive(Debug, Default)]
struct Host {
    held: usize,
    /// When the host was last known to answer.
    answered: Option<Instant>,
    /// The waiters, in the order in which they came.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asking: Asking,
    give: oneshot::Sender<Result<Turn, Cause>>,
}

/// A request to speak to a host.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    host: String,
    /// Names all callers for which a pause holds that the host asks one of them for.
    together: Digest,
    /// Whether the request does not wait until such a pause is over.
    is_urgent: bool,
}

impl Asking {
    /// Creates a request to speak to a host that takes all callers with the same `together` for one, and applies its limits to
    /// them together.
    pub(crate) fn new(host: String, together: Digest, is_urgent: bool) -> Self {
        let together = Digester::new("registry-limits/v1")
            .part(&host)
            .part(together.as_bytes())
            .finish();
        Self {
            host,
            together,
            is_urgent,
        }
    }
}

/// The permit to speak to a host. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    hosts: SharedHosts,
    asking: Asking,
    began: Instant,
}

impl Turns {
    /// Waits for a turn with a host, no longer than the limit.
    ///
    /// # Errors
    ///
    /// If there was no turn in time, if the host wants to be left alone, or if it turns out to be silent in the meantime.
    pub(crate) async fn take(&self, asking: Asking, limit: Duration) -> Result<Turn, Cause> {
        let (give, given) = oneshot::channel();
        let host = asking.host.clone();
        self.wait(Waiting { asking, give })?;
        serve(&self.hosts, &host);
        match time::timeout(limit, given).await {
            Ok(given) => given.expect("who waits is known until then"),
            Err(_) => Err(Cause::Busy { host, limit }),
        }
    }

    /// Checks whether the host may be asked now, for a caller that has something else to do first.
    ///
    /// # Errors
    ///
    /// If the host wants to be left alone, and the request is not urgent.
    pub(crate) fn check(&self, asking: &Asking) -> Result<(), Cause> {
        lock(&self.hosts).check(asking)
    }

    fn wait(&self, who: Waiting) -> Result<(), Cause> {
        let mut hosts = lock(&self.hosts);
        hosts.check(&who.asking)?;
        let host = hosts.asked.entry(who.asking.host.clone()).or_default();
        host.waiting.push_back(who);
        Ok(())
    }
}

impl Hosts {
    fn check(&self, asking: &Asking) -> Result<(), Cause> {
        if asking.is_urgent {
            return Ok(());
        }
        let failure = self.rests.failure(asking.together, Instant::now());
        failure.map_or(Ok(()), Err)
    }
}

impl Host {
    /// Removes and returns the waiters that have to wait longer because a caller with the same limits was asked for a pause.
    fn take_those_who_rest(&mut self, asking: &Asking) -> VecDeque<Waiting> {
        let (rest, others) = mem::take(&mut self.waiting).into_iter().partition(|who| {
            let who = &who.asking;
            who.together == asking.together && !who.is_urgent
        });
        self.waiting = others;
        rest
    }
}

impl Turn {
    /// Passes an outcome on to those that wait for the host, if theirs would be the same.
    pub(crate) fn tell<T>(&self, result: &Result<T, Cause>) {
        let now = Instant::now();
        let mut hosts = lock(&self.hosts);
        let Hosts { asked, rests } = &mut *hosts;
        let Some(host) = asked.get_mut(&self.asking.host) else {
            return;
        };
        let together = self.asking.together;
        let (cause, told) = match result {
            Err(cause) if self.is_silence(cause, host.answered) => {
                (cause, mem::take(&mut host.waiting))
            }
            Err(Cause::Unreachable { .. } | Cause::Timeout { .. } | Cause::Interrupted { .. }) => {
                return;
            }
            Err(cause) => {
                host.answered = Some(now);
                if !rests.heed(together, &self.asking.host, cause, now) {
                    return;
                }
                (cause, host.take_those_who_rest(&self.asking))
            }
            Ok(_) => {
                host.answered = Some(now);
                rests.answered(together, self.began);
                return;
            }
        };
        drop(hosts);
        for who in told {
            // A waiter that has gone in the meantime need not know.
            let _ = who.give.send(Err(cause.clone()));
        }
    }

    /// Returns whether all callers of the host would have the same failure. What takes too long may be just what was asked for,
    /// while the host answers others. And what is silent may be another host, to which this one has sent us.
    fn is_silence(&self, cause: &Cause, answered: Option<Instant>) -> bool {
        match cause {
            Cause::Unreachable { host, .. } => *host == self.asking.host,
            Cause::Timeout {
                host, total: false, ..
            } => *host == self.asking.host && answered.is_none_or(|answered| answered < self.began),
            _ => false,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(host) = lock(&self.hosts).asked.get_mut(&self.asking.host) {
            host.held -= 1;
        }
        serve(&self.hosts, &self.asking.host);
    }
}

fn lock(hosts: &SharedHosts) -> MutexGuard<'_, Hosts> {
    // Nothing in it can panic between two changes that belong together.
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives turns with a host to all waiters that can have one now.
fn serve(hosts: &SharedHosts, host: &str) {
    loop {
        // The lock is released before a turn may be dropped.
        let next = next(&mut lock(hosts).asked, host);
        let Some(next) = next else { return };
        let turn = Turn {
            hosts: Arc::clone(hosts),
            asking: next.asking,
            began: Instant::now(),
        };
        // A waiter that has gone in the meantime leaves the turn to the others by dropping it.
        let _ = next.give.send(Ok(turn));
    }
}

/// Counts a turn for the first caller that still waits, and returns that.
fn next(hosts: &mut HashMap<String, Host>, name: &str) -> Option<Waiting> {
    let host = hosts.get_mut(name)?;
    host.waiting.retain(|who| !who.give.is_closed());
    if host.held < PER_HOST
        && let Some(next) = host.waiting.pop_front()
    {
        host.held += 1;
        return Some(next);
    }
    if host.held == 0 {
        hosts.remove(name);
    }
    None
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, future};

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn asking(host: &str, who: &str, is_urgent: bool) -> Asking {
        Asking::new(host.to_owned(), Digest::of(who), is_urgent)
    }

    /// Asks for turns, as far as possible without waiting.
    fn asked<'a>(
        turns: &'a Turns,
        host: &str,
        count: usize,
    ) -> Vec<future::BoxFuture<'a, Result<Turn, Cause>>> {
        let ask = |_| turns.take(asking(host, "us", false), LONG).boxed();
        (0..count).map(ask).collect()
    }

    fn given(
        asked: &mut Vec<future::BoxFuture<'_, Result<Turn, Cause>>>,
    ) -> Vec<Result<Turn, Cause>> {
        let mut given = Vec::new();
        asked.retain_mut(|one| match one.now_or_never() {
            Some(result) => {
                given.push(result);
                false
            }
            None => true,
        });
        given
    }

    fn timeout(host: &str, total: bool) -> Result<(), Cause> {
        Err(Cause::Timeout {
            host: host.to_owned(),
            total,
            limit: LONG,
        })
    }

    fn broken() -> Result<(), Cause> {
        Err(Cause::Interrupted {
            host: "silent".to_owned(),
            reason: String::new(),
        })
    }

    fn end(turn: Option<Result<Turn, Cause>>, result: &Result<(), Cause>) {
        turn.unwrap().unwrap().tell(result);
    }

    #[tokio::test]
    async fn so_many_have_a_turn_with_one_host_and_nobody_waits_for_another() {
        let turns = Turns::default();
        let mut one = asked(&turns, "one", 7);
        let mut held = given(&mut one);
        assert_eq!(held.len(), PER_HOST);
        assert_eq!(given(&mut asked(&turns, "other", 1)).len(), 1);
        held.pop();
        held.extend(given(&mut one));
        assert_eq!((held.len(), one.len()), (PER_HOST, 1));
        // A waiter that has gone leaves its turn to others.
        one.clear();
        let mut late = asked(&turns, "one", 1);
        assert!(given(&mut late).is_empty());
        held.pop();
        assert_eq!(given(&mut late).len(), 1);
        held.clear();
        drop(late);
        assert!(lock(&turns.hosts).asked.is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_silent_host_is_told_with_whoever_asked() {
        let turns = Turns::default();
        let mut asked = asked(&turns, "silent", 20);
        let mut held = given(&mut asked);
        for nothing in [
            timeout("silent", true),
            timeout("elsewhere", false),
            broken(),
        ] {
            end(held.pop(), &nothing);
            held.extend(given(&mut asked));
            assert_eq!(held.len(), PER_HOST);
            assert!(held.iter().all(Result::is_ok));
        }
        end(held.pop(), &timeout("silent", false));
        let told = given(&mut asked);
        assert_eq!((told.len(), asked.len()), (12, 0));
        let said = |told: &Result<Turn, Cause>| told.as_ref().unwrap_err().to_string();
        let expected = timeout("silent", false).unwrap_err().to_string();
        assert!(told.iter().all(|told| said(told) == expected));
    }

    #[tokio::test]
    async fn who_waits_for_a_host_that_answers_others_is_not_told_of_what_takes_long() {
        let turns = Turns::default();
        let mut asked = asked(&turns, "one", PER_HOST + 2);
        let mut held = given(&mut asked);
        end(held.pop(), &Ok(()));
        end(held.pop(), &timeout("one", false));
        let given = given(&mut asked);
        assert_eq!((given.len(), asked.len()), (2, 0));
        assert!(given.iter().all(Result::is_ok));
    }

    #[tokio::test]
    async fn a_pause_is_for_those_who_were_asked_for_it_and_can_wait() {
        let turns = Turns::default();
        let mut held = given(&mut asked(&turns, "one", PER_HOST));
        let mut waiting: Vec<_> = [("us", false), ("us", true), ("others", false)]
            .map(|(who, is_urgent)| turns.take(asking("one", who, is_urgent), LONG).boxed())
            .into();
        assert!(given(&mut waiting).is_empty());
        let busy = || {
            Err::<(), _>(Cause::RateLimited {
                host: "one".to_owned(),
                retry_after: Some(LONG),
                message: None,
            })
        };
        end(held.pop(), &busy());
        let told = given(&mut waiting);
        assert_eq!((told.len(), waiting.len()), (2, 1));
        let [us, next] = <[_; 2]>::try_from(told).unwrap();
        assert!(us.unwrap_err().retry_after().is_some());
        let next = next.unwrap();
        assert!(next.asking.is_urgent, "it was the next");
        assert!(turns.check(&asking("one", "us", false)).is_err());
        for other in [asking("one", "others", false), asking("other", "us", false)] {
            assert!(turns.check(&other).is_ok());
        }
        // An answer to a request from before the pause was asked for says nothing about what comes after.
        end(held.pop(), &Ok(()));
        assert!(turns.check(&asking("one", "us", false)).is_err());
        next.tell(&Ok(()));
        assert!(turns.check(&asking("one", "us", false)).is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let turns = Turns::default();
        let held = given(&mut asked(&turns, "one", PER_HOST));
        let asking = asking("one", "us", false);
        let told = turns.take(asking, Duration::from_millis(1)).await;
        insta::assert_snapshot!(told.unwrap_err(), @"one was not asked: those who asked it before took longer than 1ms");
        drop(held);
    }
}
