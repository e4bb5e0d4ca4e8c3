//! What the agent uses in a phase.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pintle_harness::{AGENT_NAMESPACE, Agent, ApiRequest, ControlPlane, Usage, until};
use serde::Serialize;

/// An agent is quiet when this long ...
const QUIET_WINDOW: Duration = Duration::from_secs(2);
/// ... it has asked nothing of the API server and used no more than this.
const QUIET_CPU: Duration = Duration::from_millis(50);
/// How long the agent may take to get its lease and its first watch.
const START_LIMIT: Duration = Duration::from_mins(1);
/// After which it is taken to be never quiet.
const QUIET_LIMIT: Duration = Duration::from_mins(1);

/// A phase that is being measured.
#[derive(Debug)]
pub(super) struct Meter {
    name: &'static str,
    mark: u64,
    before: Usage,
}

/// What the agent used in a phase.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) wall_seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
    /// By verb, without watches and leases; what is only tried is `VERB dry-run`.
    pub(super) requests: BTreeMap<String, usize>,
    /// Watches that began.
    pub(super) watches: usize,
    /// Requests that concern leases.
    pub(super) leases: usize,
    /// Requests that were refused, by verb, resource and HTTP status: part of the above.
    pub(super) refused: BTreeMap<String, usize>,
    /// What `requests` counts, by resource.
    pub(super) resources: BTreeMap<String, usize>,
    /// The writes that were meant, not only tried.
    #[serde(skip)]
    pub(super) writes: Vec<ApiRequest>,
}

impl Meter {
    pub(super) fn start(
        name: &'static str,
        agent: &Agent,
        control_plane: &ControlPlane,
    ) -> Result<Self> {
        forget_peak_memory(agent)?;
        Ok(Self {
            name,
            mark: control_plane.requests_mark()?,
            before: agent.process().usage()?,
        })
    }

    pub(super) fn end(
        self,
        wall: Duration,
        agent: &Agent,
        control_plane: &ControlPlane,
    ) -> Result<Phase> {
        let after = agent.process().usage()?;
        let mut phase = Phase {
            name: self.name,
            wall_seconds: wall.as_secs_f64(),
            cpu_seconds: after.cpu.saturating_sub(self.before.cpu).as_secs_f64(),
            peak_memory_bytes: after.peak_memory,
            requests: BTreeMap::new(),
            watches: 0,
            leases: 0,
            refused: BTreeMap::new(),
            resources: BTreeMap::new(),
            writes: Vec::new(),
        };
        for request in of_agent(control_plane, self.mark)? {
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

/// Waits until the agent has nothing to do any more, and says whether that came.
pub(super) fn wait_quiet(agent: &Agent, control_plane: &ControlPlane) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < QUIET_LIMIT {
        let (mark, before) = (control_plane.requests_mark()?, agent.process().usage()?.cpu);
        std::thread::sleep(QUIET_WINDOW);
        let used = agent.process().usage()?.cpu.saturating_sub(before);
        let asked = of_agent(control_plane, mark)?
            .iter()
            .any(|request| !is_lease(request) && request.verb != "watch");
        if used <= QUIET_CPU && !asked {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until the agent, once started, holds its lease, follows the Applications, and rests: it may say that it is
/// ready as a standby before.
pub(super) fn wait_started(agent: &Agent, control_plane: &ControlPlane, mark: u64) -> Result<()> {
    until("the agent follows the Applications", START_LIMIT, || {
        let follows = of_agent(control_plane, mark)?.iter().any(|request| {
            request.verb == "watch" && request.resource == "applications" && request.code == 200
        });
        Ok(if follows {
            Ok(())
        } else {
            Err(agent.process().log_tail())
        })
    })?;
    ensure!(
        wait_quiet(agent, control_plane)?,
        "the agent has no Application and does not come to rest\n{}",
        agent.process().log_tail()
    );
    Ok(())
}

/// Is what the agent asked, in whoever's name.
fn of_agent(control_plane: &ControlPlane, mark: u64) -> Result<Vec<ApiRequest>> {
    let agent = format!("system:serviceaccount:{AGENT_NAMESPACE}:pintle-agent");
    let mut requests = control_plane.requests_since(mark)?;
    requests.retain(|request| request.user == agent);
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

/// Lets the kernel count the peak from what is resident now.
/// <https://docs.kernel.org/filesystems/proc.html>: "To reset the peak resident set size".
fn forget_peak_memory(agent: &Agent) -> Result<()> {
    let file = format!("/proc/{}/clear_refs", agent.process().id());
    fs::write(&file, "5").with_context(|| format!("write {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn leases_watches_and_dry_runs_are_apart() {
        let mut phase = Phase {
            name: "test",
            wall_seconds: 0.0,
            cpu_seconds: 0.0,
            peak_memory_bytes: 0,
            requests: BTreeMap::new(),
            watches: 0,
            leases: 0,
            refused: BTreeMap::new(),
            resources: BTreeMap::new(),
            writes: Vec::new(),
        };
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
