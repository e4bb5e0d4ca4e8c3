//! Arguments of `pintle agent`.

use std::path::PathBuf;

use clap::Args;

use super::{ConnectionArgs, RegistryArgs};

#[derive(Debug, Args)]
pub(crate) struct AgentCommand {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Only Applications in this namespace; by default all. May be repeated
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PINTLE_WATCH_NAMESPACE",
        value_delimiter = ','
    )]
    pub(crate) watch_namespace: Vec<String>,
    /// The agent's own namespace: its leases, its seed, hooks for removals, pull secrets, the token of webhooks
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PINTLE_NAMESPACE",
        default_value = "pintle-system"
    )]
    pub(crate) namespace: String,
    /// Account for applications that name none: NAME in each application's own namespace, or NAMESPACE/NAME for those in
    /// that namespace and in trusted ones. Without it such applications are refused
    #[arg(
        long,
        value_name = "[NAMESPACE/]NAME",
        env = "PINTLE_DEFAULT_SERVICE_ACCOUNT"
    )]
    pub(crate) default_service_account: Option<String>,
    /// Namespace whose applications may use a default account that is in another one; `*` for all, where there is one team.
    /// May be repeated
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PINTLE_TRUST_NAMESPACE",
        value_delimiter = ','
    )]
    pub(crate) trust_namespace: Vec<String>,
    /// Where repositories, components and compiled code are cached; deleting it costs time only
    #[arg(long, value_name = "FOLDER", env = "PINTLE_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Size of the volume in which the cache is, such as `4Gi`: all that is kept there stays below it
    #[arg(
        long,
        value_name = "SIZE",
        env = "PINTLE_CACHE_SIZE",
        default_value = pintle_cluster::crd::CACHE_SIZE,
        value_parser = size
    )]
    pub(crate) cache_size: u64,
    /// Address for /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(crate) listen: std::net::SocketAddr,
    /// Address for webhooks of git servers; none without it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhook_listen: Option<std::net::SocketAddr>,
    /// Secret in the agent's namespace whose key `token` signs webhooks
    #[arg(
        long,
        value_name = "NAME",
        default_value = pintle_cluster::crd::WEBHOOK_SECRET
    )]
    pub(crate) webhook_secret: String,
    /// Works without a lease: for a laptop, where no other replica runs
    #[arg(long)]
    pub(crate) no_lease: bool,
    /// Name of the Leases. Agents that share it split the applications between them: they must watch the same namespaces
    #[arg(long, value_name = "NAME", default_value = "pintle-agent")]
    pub(crate) lease_name: String,
    /// How long the others wait for a replica that died; every third of it a lease is renewed
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub(crate) lease_duration: pintle_core::duration::Span,
    /// How many applications are worked on at once, in each cluster. One that waits for health or for a host does not count
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) concurrency: usize,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// The smallest cache: what the agent needs at once, such as its own plugins when they are compiled, must fit into a part
/// of it.
const SMALLEST_CACHE: u64 = 256 << 20;

/// Reads a size as Kubernetes writes it: `4Gi`, `500M`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
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
    let number = number.parse::<u64>().ok();
    let bytes = number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes >= SMALLEST_CACHE)
        .ok_or_else(|| "expected a size of 256Mi or more, such as 4Gi".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_in_kubernetes() {
        assert_eq!(size("4Gi"), Ok(4 << 30));
        assert_eq!(size("500M"), Ok(500_000_000));
        assert_eq!(size("4294967296"), Ok(4 << 30));
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
            assert!(size(none).is_err(), "{none}");
        }
    }
}
