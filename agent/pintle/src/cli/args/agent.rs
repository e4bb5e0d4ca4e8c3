//! Arguments of `pintle agent`.

use std::path::PathBuf;

use clap::Args;
use pintle_source::Limits;

use super::{ConnectionArgs, RegistryArgs, variable};

#[derive(Debug, Args)]
pub(crate) struct AgentCommand {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Namespace whose Applications to work on; by default, all. May be repeated
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = variable("PINTLE_WATCH_NAMESPACE"),
        value_delimiter = ','
    )]
    pub(crate) watch_namespace: Vec<String>,
    /// Namespace of the agent itself, with its leases, its seed, hooks for removals, pull secrets and the token of webhooks
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = variable("PINTLE_NAMESPACE"),
        default_value = "pintle-system"
    )]
    pub(crate) namespace: String,
    /// Service account for applications that name none: NAME in each application's own namespace, or NAMESPACE/NAME for those in
    /// that namespace and in trusted ones; without it, such applications are refused
    #[arg(
        long,
        value_name = "[NAMESPACE/]NAME",
        env = variable("PINTLE_DEFAULT_SERVICE_ACCOUNT")
    )]
    pub(crate) default_service_account: Option<String>,
    /// Namespace whose applications may use a default account in another namespace; `*` for all, in a cluster with one team. May
    /// be repeated
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = variable("PINTLE_TRUST_NAMESPACE"),
        value_delimiter = ','
    )]
    pub(crate) trust_namespace: Vec<String>,
    /// Folder to cache repositories, components and compiled code in; deleting it costs only time
    #[arg(long, value_name = "FOLDER", env = variable("PINTLE_CACHE"))]
    pub(crate) cache: Option<PathBuf>,
    /// Size of the volume that holds the cache, such as `4Gi`; everything in the cache together stays below it
    #[arg(
        long,
        value_name = "SIZE",
        env = variable("PINTLE_CACHE_SIZE"),
        default_value = pintle_cluster::crd::CACHE_SIZE,
        value_parser = cache_size
    )]
    pub(crate) cache_size: u64,
    /// Address for /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(crate) listen: std::net::SocketAddr,
    /// Address for webhooks of git servers; by default, none are received
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhook_listen: Option<std::net::SocketAddr>,
    /// Secret in the agent's namespace whose key `token` signs webhooks
    #[arg(
        long,
        value_name = "NAME",
        default_value = pintle_cluster::crd::WEBHOOK_SECRET
    )]
    pub(crate) webhook_secret: String,
    /// Work without a lease: for a laptop, where no other replica runs
    #[arg(long)]
    pub(crate) no_lease: bool,
    /// Name of the Leases. Agents with the same name split the applications between them, and must watch the same namespaces
    #[arg(long, value_name = "NAME", default_value = "pintle-agent")]
    pub(crate) lease_name: String,
    /// Time that the other replicas wait for one that died; a lease is renewed after every third of it
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub(crate) lease_duration: pintle_core::duration::Span,
    /// Number of applications to work on at once, in each cluster. Applications that wait for health or for a host do not count
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) concurrency: usize,
    #[command(flatten)]
    pub(crate) git: GitArgs,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

impl AgentCommand {
    /// Returns the namespaces that are watched, or none for all.
    pub(crate) fn watched(&self) -> Vec<String> {
        named(&self.watch_namespace)
    }

    /// Returns the namespaces that are trusted.
    pub(crate) fn trusted(&self) -> Vec<String> {
        named(&self.trust_namespace)
    }
}

/// Leaves out empty names. No namespace has an empty name, and what a template leaves between two commas is meant as nothing.
fn named(namespaces: &[String]) -> Vec<String> {
    let named = namespaces.iter().filter(|name| !name.is_empty());
    named.cloned().collect()
}

// How much is accepted from a git repository.
#[derive(Debug, Clone, Copy, Args)]
#[expect(
    clippy::struct_field_names,
    reason = "they are called as their options are"
)]
pub(crate) struct GitArgs {
    /// Maximum size of one transfer of a git repository, as it is sent. It is stored in the cache: the volume needs eight times as
    /// much
    #[arg(
        long,
        value_name = "SIZE",
        env = variable("PINTLE_MAX_GIT_TRANSFER"),
        default_value = "512Mi",
        value_parser = size,
        help_heading = "Git"
    )]
    pub(crate) max_git_transfer: u64,
    /// Maximum number of files, folders and commits in one transfer of a git repository; each takes some 200 bytes of memory
    #[arg(
        long,
        value_name = "N",
        env = variable("PINTLE_MAX_GIT_OBJECTS"),
        default_value_t = 400_000,
        help_heading = "Git"
    )]
    pub(crate) max_git_objects: u32,
    /// Maximum size of a file in a git repository, whether it is deployed or not; reading a file takes up to ten times its size
    /// in memory
    #[arg(
        long,
        value_name = "SIZE",
        env = variable("PINTLE_MAX_GIT_OBJECT_SIZE"),
        default_value = "64Mi",
        value_parser = size,
        help_heading = "Git"
    )]
    pub(crate) max_git_object_size: u64,
}

/// How much larger a transfer may be once it is unpacked. That takes time, but no memory.
const UNPACKED: u64 = 16;

impl GitArgs {
    /// Returns the limits for what is accepted from a repository.
    pub(crate) fn limits(self) -> Limits {
        Limits {
            pack: self.max_git_transfer,
            unpacked: self.max_git_transfer.saturating_mul(UNPACKED),
            objects: self.max_git_objects,
            object: self.max_git_object_size,
            ..Limits::default()
        }
    }
}

/// The smallest cache. What the agent needs at the same time, such as its own plugins in compiled form, must fit into a part of
/// it.
const SMALLEST_CACHE: u64 = 256 << 20;

/// Parses the size of the cache.
fn cache_size(text: &str) -> Result<u64, String> {
    bytes(text)
        .filter(|bytes| *bytes >= SMALLEST_CACHE)
        .ok_or_else(|| "expected a size of 256Mi or more, such as 4Gi".to_owned())
}

/// Parses a size that must not be zero.
fn size(text: &str) -> Result<u64, String> {
    bytes(text)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size, such as 512Mi".to_owned())
}

/// Parses a size as Kubernetes writes it: `4Gi`, `500M`, or a number of bytes.
fn bytes(text: &str) -> Option<u64> {
    let unit = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor: Option<u64> = match unit {
        "" => Some(1),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "T" => Some(1_000_000_000_000),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        "Ti" => Some(1 << 40),
        _ => None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn typed(args: &[&str]) -> AgentCommand {
        let cli = Cli::try_parse_from([&["pintle", "agent"][..], args].concat());
        match cli.unwrap().command {
            Command::Agent(agent) => agent,
            other => panic!("{other:?}"),
        }
    }

    fn limits(args: &[&str]) -> Limits {
        typed(args).git.limits()
    }

    #[test]
    fn a_namespace_without_a_name_is_none() {
        let agent = typed(&["--watch-namespace=", "--trust-namespace=,"]);
        assert!(agent.watched().is_empty(), "all are watched");
        assert!(agent.trusted().is_empty());
        let agent = typed(&["--watch-namespace=a,,b,"]);
        assert_eq!(agent.watched(), ["a", "b"]);
    }

    #[test]
    fn an_agent_takes_from_a_repository_what_the_command_line_takes_unless_it_is_told_otherwise() {
        assert_eq!(limits(&[]), Limits::default());
        let told = limits(&[
            "--max-git-transfer=2Gi",
            "--max-git-objects=2000000",
            "--max-git-object-size=100M",
        ]);
        let expected = Limits {
            pack: 2 << 30,
            unpacked: 32 << 30,
            objects: 2_000_000,
            object: 100_000_000,
            ..Limits::default()
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn sizes_are_written_as_in_kubernetes() {
        assert_eq!(cache_size("4Gi"), Ok(4 << 30));
        assert_eq!(cache_size("500M"), Ok(500_000_000));
        assert_eq!(cache_size("4294967296"), Ok(4 << 30));
        assert_eq!(size("1"), Ok(1));
        for none in [
            "",
            "Gi",
            "4gi",
            "4 Gi",
            "4.5Gi",
            "-4Gi",
            "255Mi",
            "0",
            "99999999999Ti",
        ] {
            assert!(cache_size(none).is_err(), "{none}");
        }
    }
}
