//! A real control plane, registry, git servers and receivers for tests and the demo.
//!
//! Nothing here imitates what Pintle talks to. The [`ControlPlane`] is Kubernetes' own code built from its modules
//! (`tests/cluster`), with kwok in place of the kubelets. [`Servers`] (`tests/servers`) are an OCI registry, git's own programs
//! behind http and OpenSSH's server, and a sink that records what notifiers send. A [`Proxy`] in front of any of them injects the
//! faults that a real server shows only on a bad day.
//!
//! Everything is synchronous and works inside and outside of an async runtime, so that a server outlives the runtime of the test
//! that started it. Whatever is started ends with the process that started it, however that process ends. State is below the
//! cache folder ([`cache`]). It is removed on success. On failure it is kept, and the error contains its path.
//!
//! Linux only: it uses process groups and `/proc`.

pub mod agent;

mod account;
mod audit;
mod chart;
mod control_plane;
mod files;
mod git;
mod port;
mod process;
mod proxy;
mod run_dir;
mod servers;
mod sink;
mod terminal;
mod wait;

pub use agent::{AGENT_NAMESPACE, Agent, AgentOptions};
pub use audit::{ApiRequest, by_verb};
pub use chart::pack_chart;
pub use control_plane::{ControlPlane, ControlPlaneOptions, connect};
pub use files::write_file;
pub use git::GitRepo;
pub use pintle_programs::{KUSTOMIZATION_CRD, Program, Progress, cache, to_stderr};
pub use process::{Process, Usage};
pub use proxy::{Answered, Fault, Proxied, Proxy};
pub use run_dir::RunDir;
pub use servers::{Servers, ServersOptions, Ssh};
pub use sink::Delivery;
pub use terminal::{Recording, record};
pub use wait::{until, until_async};
