//! How many ask one host at one time.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time};

use crate::error::Cause;

/// Pulls, pushes and questions under way with one host at one time.
const PER_HOST: usize = 5;

/// Turns with registries and chart repositories. Clones share them.
///
/// Hosts know nothing of each other: whoever asks one waits for no other, however many of them are slow. Who waits for one that
/// cannot be reached, or does not answer, gets the failure of whoever asked it: else a thousand would find out one after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    hosts: SharedHosts,
}

type SharedHosts = Arc<Mutex<HashMap<String, Host>>>;

#[derive(Debug, Default)]
struct Host {
    held: usize,
    /// When it was last heard of that it answers.
    answered: Option<Instant>,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
}

type Waiting = oneshot::Sender<Result<Turn, Cause>>;

/// The right to speak to a host. It ends with the drop.
#[derive(Debug)]
pub(crate) struct Turn {
    hosts: SharedHosts,
    host: String,
    began: Instant,
}

impl Turns {
    /// Waits for a turn with a host, no longer than the limit.
    ///
    /// # Errors
    ///
    /// If there was none, or the host is found to be silent meanwhile.
    pub(crate) async fn take(&self, host: &str, limit: Duration) -> Result<Turn, Cause> {
        let (give, given) = oneshot::channel();
        self.wait(host, give);
        serve(&self.hosts, host);
        match time::timeout(limit, given).await {
            Ok(given) => given.expect("who waits is known until then"),
            Err(_) => Err(Cause::Busy {
                host: host.to_owned(),
                limit,
            }),
        }
    }

    fn wait(&self, host: &str, give: Waiting) {
        let mut hosts = lock(&self.hosts);
        let host = hosts.entry(host.to_owned()).or_default();
        host.waiting.push_back(give);
    }
}

impl Turn {
    /// Tells those who wait for the host what came of it, if that is what would come of theirs.
    pub(crate) fn tell<T>(&self, result: &Result<T, Cause>) {
        let mut hosts = lock(&self.hosts);
        let Some(host) = hosts.get_mut(&self.host) else {
            return;
        };
        let cause = match result {
            Err(cause) if self.is_silence(cause, host.answered) => cause,
            Err(Cause::Unreachable { .. } | Cause::Timeout { .. } | Cause::Interrupted { .. }) => {
                return;
            }
            Ok(_) | Err(_) => {
                host.answered = Some(Instant::now());
                return;
            }
        };
        let waiting = mem::take(&mut host.waiting);
        drop(hosts);
        for who in waiting {
            // Who has gone meanwhile need not know.
            let _ = who.send(Err(cause.clone()));
        }
    }

    /// Says whether a failure is one that all who ask the host would have. What takes too long may be the one thing that was
    /// asked for, while the host answers others; and what is silent may be another host, to which this one has sent us.
    fn is_silence(&self, cause: &Cause, answered: Option<Instant>) -> bool {
        match cause {
            Cause::Unreachable { host, .. } => *host == self.host,
            Cause::Timeout {
                host, total: false, ..
            } => *host == self.host && answered.is_none_or(|answered| answered < self.began),
            _ => false,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(host) = lock(&self.hosts).get_mut(&self.host) {
            host.held -= 1;
        }
        serve(&self.hosts, &self.host);
    }
}

fn lock(hosts: &SharedHosts) -> MutexGuard<'_, HashMap<String, Host>> {
    // Nothing in it can panic between two changes that belong together.
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives turns with a host to all who can have one now.
fn serve(hosts: &SharedHosts, host: &str) {
    loop {
        // What is locked is free again before a turn may be dropped.
        let next = next(&mut lock(hosts), host);
        let Some(give) = next else { return };
        let turn = Turn {
            hosts: Arc::clone(hosts),
            host: host.to_owned(),
            began: Instant::now(),
        };
        // Who has gone meanwhile leaves it to the others by dropping it.
        let _ = give.send(Ok(turn));
    }
}

/// Counts a turn for the first who waits still.
fn next(hosts: &mut HashMap<String, Host>, name: &str) -> Option<Waiting> {
    let host = hosts.get_mut(name)?;
    host.waiting.retain(|who| !who.is_closed());
    if host.held < PER_HOST
        && let Some(give) = host.waiting.pop_front()
    {
        host.held += 1;
        return Some(give);
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

    /// Asks for turns, as far as that goes without waiting.
    fn asked<'a>(
        turns: &'a Turns,
        host: &'a str,
        count: usize,
    ) -> Vec<future::BoxFuture<'a, Result<Turn, Cause>>> {
        (0..count).map(|_| turns.take(host, LONG).boxed()).collect()
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
        // Who has gone leaves it to others.
        one.clear();
        let mut late = asked(&turns, "one", 1);
        assert!(given(&mut late).is_empty());
        held.pop();
        assert_eq!(given(&mut late).len(), 1);
        held.clear();
        drop(late);
        assert!(lock(&turns.hosts).is_empty());
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
    async fn nobody_waits_for_ever() {
        let turns = Turns::default();
        let held = given(&mut asked(&turns, "one", PER_HOST));
        let told = turns.take("one", Duration::from_millis(1)).await;
        insta::assert_snapshot!(told.unwrap_err(), @"one was not asked: those who asked it before took longer than 1ms");
        drop(held);
    }
}
