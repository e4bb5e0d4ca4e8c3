//! Checks that no old content of git was written after newer content.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pintle_harness::Proxied;
use serde_json::Value;

use crate::checks::{may_have_written, object};
use crate::model::{History, Key};

/// How long a replica that stood still may continue what it had begun, until it looks at its lease.
const STOOD_STILL: Duration = Duration::from_secs(3);
/// The same for a replica whose lease somebody else has taken: the duration of a lease, plus some time for a renewal in flight.
const ROBBED: Duration = Duration::from_secs(12);

/// The periods in which two replicas may have worked on one application, because one of them did not know yet that it had lost
/// the application.
#[derive(Debug, Default)]
pub(crate) struct Handovers(Vec<(Instant, Instant)>);

impl Handovers {
    /// Records that a replica resumes that stood still.
    pub(crate) fn resumed(&mut self) {
        self.begin(STOOD_STILL);
    }

    /// Records that somebody else has taken all leases.
    pub(crate) fn robbed(&mut self) {
        self.begin(ROBBED);
    }

    fn begin(&mut self, lasts: Duration) {
        let now = Instant::now();
        self.0.push((now, now + lasts));
    }

    fn excuse(&self, at: Instant) -> bool {
        self.0
            .iter()
            .any(|(begin, end)| (*begin..*end).contains(&at))
    }
}

/// One moment in the life of an object.
enum Moment {
    /// A client began to write a version, or one with the same content.
    Begun {
        newest: u32,
        request: usize,
    },
    /// A version was written, or a newer one with the same content.
    Written {
        oldest: u32,
    },
    Deleted,
}

/// Checks that no write of an object's version came after a newer version had been written. Versions only grow in a schedule,
/// whichever application has the object.
pub(crate) fn never_went_back(
    requests: &[Proxied],
    namespace: &str,
    history: &History,
    handovers: &Handovers,
) -> Result<()> {
    let mut newest = BTreeMap::<Key, u32>::new();
    for (at, key, moment) in moments(requests, namespace, history) {
        match moment {
            Moment::Deleted => {
                newest.remove(&key);
            }
            Moment::Written { oldest } => {
                let newest = newest.entry(key).or_default();
                *newest = oldest.max(*newest);
            }
            Moment::Begun {
                newest: version,
                request,
            } => {
                let written = newest.get(&key).copied().unwrap_or_default();
                if version < written && !handovers.excuse(at) {
                    bail!(
                        "{key} had version {written}, and went back to {version}: {:?}",
                        requests[request]
                    );
                }
            }
        }
    }
    Ok(())
}

/// Returns what was done to objects, from the first moment to the last.
fn moments(
    requests: &[Proxied],
    namespace: &str,
    history: &History,
) -> Vec<(Instant, Key, Moment)> {
    let mut moments = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        let key = object(&request.uri, namespace);
        let Some(key) = key.filter(|_| may_have_written(request)) else {
            continue;
        };
        let answered = request.answered.map(|said| said.at);
        if request.method == "DELETE" {
            let at = answered.unwrap_or(request.arrived);
            moments.push((at, key, Moment::Deleted));
            continue;
        }
        let written: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let versions = history.versions(&key, &written);
        let (Some(oldest), Some(newest)) = (versions.first(), versions.last()) else {
            continue;
        };
        let begun = Moment::Begun {
            newest: *newest,
            request: number,
        };
        moments.push((request.arrived, key.clone(), begun));
        if let Some(at) = answered {
            moments.push((at, key, Moment::Written { oldest: *oldest }));
        }
    }
    moments.sort_by_key(|(at, _, _)| *at);
    moments
}

#[cfg(test)]
mod tests {
    use pintle_harness::Answered;

    use super::*;
    use crate::model::{Desired, Kind, manifest};

    const PATH: &str = "/api/v1/namespaces/n/configmaps/one?fieldManager=x";

    fn key() -> Key {
        Key {
            kind: Kind::ConfigMap,
            name: "one".to_owned(),
        }
    }

    /// Returns a request that arrived after this many seconds and took one more.
    fn request(start: Instant, method: &str, seconds: u64, body: &Value) -> Proxied {
        let arrived = start + Duration::from_secs(seconds);
        Proxied {
            method: method.to_owned(),
            uri: PATH.to_owned(),
            arrived,
            status: 200,
            passed_on: true,
            answered: Some(Answered {
                status: 200,
                at: arrived + Duration::from_secs(1),
            }),
            body: body.to_string().into_bytes().into(),
        }
    }

    #[test]
    fn whoever_writes_an_older_version_after_a_newer_one_is_found() {
        let mut history = History::default();
        for version in [1, 2] {
            history.commit(&Desired {
                applications: BTreeMap::from([(
                    "a".to_owned(),
                    BTreeMap::from([(key(), version)]),
                )]),
            });
        }
        let start = Instant::now();
        let write = |version, seconds| request(start, "PATCH", seconds, &manifest(&key(), version));
        let delete = |seconds| request(start, "DELETE", seconds, &Value::Null);
        let refused = |request: Proxied| Proxied {
            answered: request.answered.map(|said| Answered {
                status: 409,
                ..said
            }),
            ..request
        };
        let check = |requests: &[Proxied], handovers: &Handovers| {
            never_went_back(requests, "n", &history, handovers)
        };
        let none = Handovers::default();
        check(&[write(1, 0), write(2, 10), write(2, 20)], &none).unwrap();
        let back = [write(1, 20), write(2, 10)];
        check(&back, &none).unwrap_err();
        check(&[write(2, 10), refused(write(1, 20))], &none).unwrap();
        check(&[refused(write(2, 10)), write(1, 20)], &none).unwrap();
        check(&[write(2, 10), delete(15), write(1, 20)], &none).unwrap();
        // It had begun before the newer one was answered.
        let delayed = Proxied {
            arrived: start,
            ..write(1, 20)
        };
        check(&[write(2, 10), delayed], &none).unwrap();
        let excused = |begin, end| {
            let seconds = |seconds| start + Duration::from_secs(seconds);
            Handovers(vec![(seconds(begin), seconds(end))])
        };
        check(&back, &excused(19, 21)).unwrap();
        check(&back, &excused(16, 19)).unwrap_err();
    }
}
