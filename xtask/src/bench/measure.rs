//! The resources that a controller uses in a phase.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pintle_harness::{Agent, ApiRequest, ControlPlane, Process, Usage, until};
use serde::{Deserialize, Serialize};

/// A controller is quiet if for this long ...
const QUIET_WINDOW: Duration = Duration::from_secs(2);
/// ... it has sent no requests to the API server, leases and watches aside, and used no more CPU time than this.
const QUIET_CPU: Duration = Duration::from_millis(50);
/// How long a controller may take to get its lease and its first watch.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long to wait until a controller counts as never quiet.
const QUIET_LIMIT: Duration = Duration::from_mins(1);

/// The process that is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) process: &'a Process,
    /// The user whose requests are counted, including those with which it impersonates others.
    pub(super) user: &'a str,
}

impl<'a> Subject<'a> {
    /// Returns the agent, with the account that `deploy/` gives it.
    pub(super) fn agent(agent: &'a Agent) -> Self {
        Self {
            process: agent.process(),
            user: AGENT,
        }
    }

    /// Fails, with the end of the log, if the process has ended.
    pub(super) fn check_running(self) -> Result<()> {
        self.process
            .usage()
            .map(drop)
            .map_err(|_| anyhow::anyhow!("the controller has ended\n{}", self.process.log_tail()))
    }
}

/// The agent's account.
const AGENT: &str = "system:serviceaccount:pintle-system:pintle-agent";

/// A phase that is being measured.
#[derive(Debug)]
pub(super) struct Meter {
    name: &'static str,
    mark: u64,
    before: Usage,
    control_plane: Usage,
}

/// The resources that a controller used in a phase.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) wall_seconds: f64,
    pub(super) cpu_seconds: f64,
    /// What etcd, the API server and all other controllers used together in that time.
    pub(super) control_plane_cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
    /// The requests by verb, without watches and leases. Dry runs are counted as `VERB dry-run`.
    pub(super) requests: BTreeMap<String, usize>,
    /// The number of watches that began.
    pub(super) watches: usize,
    /// The number of requests that concern leases.
    pub(super) leases: usize,
    /// Refused requests, by verb, resource and HTTP status. They are part of the above.
    pub(super) refused: BTreeMap<String, usize>,
    /// The same requests as in `requests`, by resource.
    pub(super) resources: BTreeMap<String, usize>,
    /// The writes that were no dry runs.
    #[serde(skip)]
    pub(super) writes: Vec<ApiRequest>,
}

impl Meter {
    pub(super) fn start(
        name: &'static str,
        subject: Subject<'_>,
        control_plane: &ControlPlane,
    ) -> Result<Self> {
        forget_peak_memory(subject.process)?;
        Ok(Self {
            name,
            mark: control_plane.requests_mark()?,
            before: subject.process.usage()?,
            control_plane: control_plane.process().usage()?,
        })
    }

    /// Measures from the start of the process.
    pub(super) fn since_start(name: &'static str, mark: u64, control_plane: Usage) -> Self {
        let before = Usage {
            cpu: Duration::ZERO,
            peak_memory: 0,
        };
        Self {
            name,
            mark,
            before,
            control_plane,
        }
    }

    pub(super) fn end(
        self,
        wall: Duration,
        subject: Subject<'_>,
        control_plane: &ControlPlane,
    ) -> Result<Phase> {
        let after = subject.process.usage()?;
        let seconds =
            |after: Usage, before: Usage| after.cpu.saturating_sub(before.cpu).as_secs_f64();
        let mut phase = Phase {
            name: self.name.to_owned(),
            wall_seconds: wall.as_secs_f64(),
            cpu_seconds: seconds(after, self.before),
            control_plane_cpu_seconds: seconds(
                control_plane.process().usage()?,
                self.control_plane,
            ),
            peak_memory_bytes: after.peak_memory,
            ..Phase::default()
        };
        for request in requests_of(subject, control_plane, self.mark)? {
            phase.count(request);
        }
        Ok(phase)
    }
}

impl Phase {
    pub(super) fn total(&self) -> usize {
        self.requests.values().sum()
    }

    fn count(&mut self, request: ApiRequest) {
        let what = [request.resource.as_str(), request.subresource.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        let what = if what.is_empty() {
            request.uri.clone()
        } else {
            what
        };
        if request.code >= 400 {
            let key = format!("{} {what}: {}", request.verb, request.code);
            *self.refused.entry(key).or_default() += 1;
        }
        if is_lease(&request) {
            self.leases += 1;
        } else if request.verb == "watch" {
            self.watches += 1;
        } else {
            let dry = is_dry_run(&request);
            let verb = if dry {
                format!("{} dry-run", request.verb)
            } else {
                request.verb.clone()
            };
            *self.resources.entry(format!("{verb} {what}")).or_default() += 1;
            *self.requests.entry(verb).or_default() += 1;
            if request.is_write() && !dry {
                self.writes.push(request);
            }
        }
    }
}

/// Waits until the controller has nothing more to do, and returns whether that happened.
pub(super) fn wait_quiet(subject: Subject<'_>, control_plane: &ControlPlane) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < QUIET_LIMIT {
        let (mark, before) = (control_plane.requests_mark()?, subject.process.usage()?.cpu);
        std::thread::sleep(QUIET_WINDOW);
        let used = subject.process.usage()?.cpu.saturating_sub(before);
        let asked = requests_of(subject, control_plane, mark)?
            .iter()
            .any(|request| !is_lease(request) && request.verb != "watch");
        if used <= QUIET_CPU && !asked {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until a started controller has its lease, if it uses one, and watches what it should: before that, it may report that it
/// is ready as a standby. The mark is from before its start.
pub(super) fn wait_following(
    subject: Subject<'_>,
    resource: &str,
    control_plane: &ControlPlane,
    mark: u64,
) -> Result<()> {
    let what = format!("the controller follows {resource}");
    until(&what, START_LIMIT, || {
        subject.check_running()?;
        let follows = requests_of(subject, control_plane, mark)?
            .iter()
            .any(|request| {
                request.verb == "watch" && request.resource == resource && request.code == 200
            });
        Ok(if follows {
            Ok(())
        } else {
            Err(subject.process.log_tail())
        })
    })
}

/// Does the same as [`wait_following`], and then waits until the controller rests.
pub(super) fn wait_started(
    subject: Subject<'_>,
    resource: &str,
    control_plane: &ControlPlane,
    mark: u64,
) -> Result<()> {
    wait_following(subject, resource, control_plane, mark)?;
    ensure!(
        wait_quiet(subject, control_plane)?,
        "the controller has nothing to converge and does not come to rest\n{}",
        subject.process.log_tail()
    );
    Ok(())
}

/// Returns the requests of the subject, including those with which it impersonates others.
fn requests_of(
    subject: Subject<'_>,
    control_plane: &ControlPlane,
    mark: u64,
) -> Result<Vec<ApiRequest>> {
    let mut requests = control_plane.requests_since(mark)?;
    requests.retain(|request| request.user == subject.user);
    Ok(requests)
}

fn is_lease(request: &ApiRequest) -> bool {
    request.resource == "leases"
}

fn is_dry_run(request: &ApiRequest) -> bool {
    request
        .uri
        .split_once('?')
        .is_some_and(|(_, query)| query.split('&').any(|part| part.starts_with("dryRun=")))
}

/// Makes the kernel count the peak anew, from what is resident now. <https://docs.kernel.org/filesystems/proc.html>: "To reset
/// the peak resident set size".
fn forget_peak_memory(process: &Process) -> Result<()> {
    let file = format!("/proc/{}/clear_refs", process.id());
    fs::write(&file, "5").with_context(|| format!("write {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_harness::AGENT_NAMESPACE;

    fn request(verb: &str, resource: &str, uri: &str, code: u16) -> ApiRequest {
        ApiRequest {
            verb: verb.to_owned(),
            user: String::new(),
            impersonated: None,
            user_agent: String::new(),
            uri: uri.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: "a".to_owned(),
            code,
        }
    }

    #[test]
    fn the_agents_account_is_in_the_agents_namespace() {
        let expected = format!("system:serviceaccount:{AGENT_NAMESPACE}:pintle-agent");
        assert_eq!(AGENT, expected);
    }

    #[test]
    fn leases_watches_and_dry_runs_are_apart() {
        let mut phase = Phase::default();
        for one in [
            request("watch", "leases", "/l", 200),
            request("watch", "services", "/s?watch=1", 200),
            request("patch", "services", "/s/a?dryRun=All&force=true", 200),
            request("patch", "services", "/s/a?force=true", 409),
            request("get", "", "/version", 200),
        ] {
            phase.count(one);
        }
        assert_eq!((phase.leases, phase.watches, phase.total()), (1, 1, 3));
        let verbs: Vec<_> = phase.requests.keys().map(String::as_str).collect();
        assert_eq!(verbs, ["get", "patch", "patch dry-run"]);
        assert_eq!(phase.resources["get /version"], 1);
        assert_eq!(phase.refused["patch services: 409"], 1);
        assert_eq!(phase.writes.len(), 1);
    }
}
