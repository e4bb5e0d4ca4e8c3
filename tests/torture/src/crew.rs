//! The replicas of the agent. Each is a process with a proxy in front of it and one behind it, and with a clock and a disk of its
//! own.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pintle_harness::{Agent, AgentOptions, Proxied, Proxy};

use crate::arena::{Arena, Lane};
use crate::faults::Machine;
use crate::schedule::Schedule;
use crate::trouble::{Place, Trouble};

/// The duration of a lease. A replica that takes over from one that stands still waits that long, and a busy machine must be able
/// to renew the lease in a third of that.
const LEASE: &str = "9s";

/// One replica.
struct Replica {
    // Dropped before the proxies: the agent ends first.
    agent: Option<Agent>,
    api_server: Proxy,
    webhooks: Option<Proxy>,
    machine: Machine,
    dir: PathBuf,
    /// The offset in the log where this schedule's part begins.
    log_begin: u64,
}

/// All replicas of a schedule.
pub(crate) struct Crew<'a> {
    arena: &'a Arena,
    trouble: Arc<Trouble>,
    replicas: Vec<Replica>,
    pub(crate) restarts: u64,
}

impl<'a> Crew<'a> {
    /// Creates what each replica needs, and starts none.
    pub(crate) fn hire(
        arena: &'a Arena,
        lane: &Lane,
        schedule: &Schedule,
        trouble: &Arc<Trouble>,
    ) -> Result<Self> {
        let replicas = (0..schedule.replicas).map(|number| {
            let dir = lane.replica(number);
            std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
            let api_server = Proxy::before_api_server(&arena.control_plane)?;
            api_server.decide_by(trouble.decide(Place::ApiServer(number)));
            let log = std::fs::metadata(dir.join("agent.log"));
            Ok(Replica {
                agent: None,
                api_server,
                webhooks: None,
                machine: Machine::new(&dir.join("machine"))?,
                log_begin: log.map_or(0, |log| log.len()),
                dir,
            })
        });
        Ok(Self {
            arena,
            trouble: Arc::clone(trouble),
            replicas: replicas.collect::<Result<_>>()?,
            restarts: 0,
        })
    }

    /// Starts all replicas, which watch one namespace.
    pub(crate) fn start(
        &mut self,
        lane: &Lane,
        schedule: &Schedule,
        namespace: &str,
    ) -> Result<()> {
        let mut args = [
            "--watch-namespace",
            namespace,
            "--namespace",
            &lane.namespace,
        ]
        .map(ToOwned::to_owned)
        .to_vec();
        if schedule.leased {
            args.extend(["--lease-duration".to_owned(), LEASE.to_owned()]);
        } else {
            args.push("--no-lease".to_owned());
        }
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let kubeconfig = replica.api_server.kubeconfig(&self.arena.kubeconfig)?;
            let mut options = AgentOptions::new(kubeconfig);
            options.args.clone_from(&args);
            options.env = replica.machine.environment(&self.arena.library).into();
            // A restarted container keeps its name, and its lease with it.
            for (variable, what) in [("POD_NAME", "replica"), ("POD_UID", "uid")] {
                let value = format!("{what}-{number}");
                options.env.push((variable.to_owned(), value));
            }
            options.dir = Some(replica.dir.clone());
            let agent = Agent::launch(options)?;
            self.trouble.follow(number, agent.process().id());
            let webhooks = Proxy::start(&agent.webhooks(), None)?;
            webhooks.decide_by(self.trouble.decide(Place::Webhooks(number)));
            replica.webhooks = Some(webhooks);
            replica.agent = Some(agent);
        }
        Ok(())
    }

    /// Restarts replicas that have ended, as a kubelet would. Fails if one should not have ended. Returns the restarted ones.
    pub(crate) fn keep_alive(&mut self) -> Result<Vec<usize>> {
        let mut ended = Vec::new();
        for (number, replica) in self.replicas.iter_mut().enumerate() {
            let Some(agent) = &mut replica.agent else {
                continue;
            };
            if let Some(status) = agent.ended() {
                let was_struck = self.trouble.was_struck(number);
                ensure!(
                    may_end(status, was_struck),
                    "replica {number} has ended by itself: {status}\n{}",
                    agent.process().log_tail()
                );
                agent.start_again()?;
                self.trouble.follow(number, agent.process().id());
                ended.push(number);
            }
        }
        self.restarts += u64::try_from(ended.len())?;
        Ok(ended)
    }

    /// Asks a replica to end. It brings its work to a safe point, and is restarted when it has ended.
    pub(crate) fn stop(&self, number: usize) {
        self.signal(number, Signal::SIGTERM);
    }

    /// Makes a replica stand still, as a swapping machine does.
    pub(crate) fn pause(&self, number: usize) {
        self.signal(number, Signal::SIGSTOP);
    }

    /// Resumes a replica that stood still.
    pub(crate) fn resume(&self, number: usize) {
        self.signal(number, Signal::SIGCONT);
    }

    pub(crate) fn resume_all(&self) {
        (0..self.replicas.len()).for_each(|number| self.resume(number));
    }

    fn signal(&self, number: usize, signal: Signal) {
        let Some(agent) = self.replicas.get(number).and_then(|one| one.agent.as_ref()) else {
            return;
        };
        // It may have ended by itself a moment ago. Nobody has waited for it, so no other process has its id.
        let _ = i32::try_from(agent.process().id()).map(|pid| kill(Pid::from_raw(pid), signal));
    }

    /// Kills all replicas, including those that stand still.
    pub(crate) fn end(&mut self) -> Result<()> {
        for replica in &mut self.replicas {
            replica.agent.as_mut().map_or(Ok(()), Agent::kill)?;
        }
        Ok(())
    }

    pub(crate) fn machine(&self, number: usize) -> Option<&Machine> {
        self.replicas.get(number).map(|replica| &replica.machine)
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.replicas.iter().map(|replica| &replica.machine)
    }

    /// Returns where a replica caches what it has fetched and compiled.
    pub(crate) fn cache(&self, number: usize) -> Option<PathBuf> {
        let replica = self.replicas.get(number)?;
        Some(replica.dir.join("cache"))
    }

    /// Returns the addresses of the proxies in front of webhooks, for the replicas that were started.
    pub(crate) fn webhooks(&self) -> Vec<String> {
        let webhooks = self.replicas.iter().filter_map(|one| one.webhooks.as_ref());
        webhooks.map(Proxy::url).collect()
    }

    /// Cuts all connections to the API server.
    pub(crate) fn cut_answers(&self) {
        self.replicas
            .iter()
            .for_each(|replica| replica.api_server.cut_answers());
    }

    pub(crate) fn expire_watches(&self) {
        self.replicas
            .iter()
            .for_each(|replica| replica.api_server.expire_watches());
    }

    /// Returns all requests to the API server.
    pub(crate) fn seen(&self) -> Vec<Proxied> {
        let seen = self
            .replicas
            .iter()
            .map(|replica| replica.api_server.seen());
        seen.flatten().collect()
    }

    /// Returns the number of requests to the API server that are not among those yet.
    pub(crate) fn under_way(&self) -> usize {
        let under_way = |replica: &Replica| replica.api_server.under_way();
        self.replicas.iter().map(under_way).sum()
    }

    /// Returns how many shards each replica holds, or `None` for one that does not answer.
    pub(crate) fn shards(&self) -> Vec<Option<u32>> {
        let held = |replica: &Replica| {
            let held = replica.agent.as_ref()?.metric("pintle_shards").ok()?;
            format!("{held:.0}").parse().ok()
        };
        self.replicas.iter().map(held).collect()
    }

    /// Returns this schedule's part of all logs.
    pub(crate) fn log(&self) -> Result<String> {
        let logs = self.replicas.iter().map(|replica| {
            let path = replica.dir.join("agent.log");
            let read = || -> std::io::Result<Vec<u8>> {
                let mut bytes = Vec::new();
                let mut file = std::fs::File::open(&path)?;
                file.seek(SeekFrom::Start(replica.log_begin))?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            };
            let bytes = read().with_context(|| format!("read {}", path.display()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        logs.collect()
    }
}

/// Returns whether an agent may end with a status: because the schedule killed it, because it was asked to (even before it can
/// handle that signal), or with an error that it reports, as when it cannot reach the API server at first or has lost its lease.
/// A restart must not cover up anything else.
fn may_end(status: ExitStatus, was_struck: bool) -> bool {
    match status.signal().map(Signal::try_from) {
        Some(Ok(Signal::SIGKILL)) => was_struck,
        Some(signal) => signal == Ok(Signal::SIGTERM),
        None => matches!(status.code(), Some(0 | 1)),
    }
}

impl Drop for Crew<'_> {
    /// Kills the agents, because one that is only dropped takes its time.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_crashes_is_not_started_again() {
        let signal = |signal: Signal| ExitStatus::from_raw(signal as i32);
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert!(may_end(signal(Signal::SIGKILL), true));
        for status in [code(0), code(1), signal(Signal::SIGTERM)] {
            assert!(may_end(status, false), "{status}");
        }
        // It was killed by somebody else, it aborted, its stack overflowed, its arguments are wrong, or its main thread panicked.
        for status in [
            signal(Signal::SIGKILL),
            signal(Signal::SIGABRT),
            signal(Signal::SIGSEGV),
            code(2),
            code(101),
        ] {
            assert!(!may_end(status, false), "{status}");
        }
        assert!(!may_end(signal(Signal::SIGABRT), true));
    }
}
