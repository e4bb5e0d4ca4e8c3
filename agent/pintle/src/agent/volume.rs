//! How the volume of the cache is divided.
//!
//! In a pod, the cache is an `emptyDir` with a limit, and the kubelet evicts a pod whose volume exceeds its limit, again and
//! again. Everything that is kept therefore has a limit, and these limits are derived from the size of the volume, here and
//! nowhere else.

/// How many bytes each kind of content may use. The rest of the volume is for content on its way: a transfer is written before
/// anything makes room for it, and what is in use stays however large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Repositories, in `git`.
    pub(crate) git: u64,
    /// Plugins and charts by their digests, in `components`.
    pub(crate) components: u64,
    /// Indexes of chart repositories, in `components/indexes`.
    pub(crate) indexes: u64,
    /// Compiled plugins, in `compiled`.
    pub(crate) compiled: u64,
    /// Packed charts that are being fetched, or are in use and no longer in `components`, where they do not count.
    pub(crate) archives: u64,
}

impl Shares {
    /// Divides a volume of this many bytes.
    pub(crate) const fn of(volume: u64) -> Self {
        Self {
            git: volume / 2,
            components: volume / 8,
            indexes: volume / 16,
            compiled: volume / 8,
            archives: volume / 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn cache_size(args: &[&str]) -> u64 {
        let cli = Cli::try_parse_from([&["pintle", "agent"][..], args].concat());
        match cli.unwrap().command {
            Command::Agent(agent) => agent.cache_size,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the value of a key in the manifests that install the agent.
    fn in_manifests(key: &str) -> String {
        let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/install.yaml");
        let text = std::fs::read_to_string(manifests).unwrap();
        let value = text.lines().find_map(|line| line.split_once(key));
        value.unwrap().1.to_owned()
    }

    #[test]
    fn the_agent_takes_the_volume_for_as_large_as_it_is() {
        let limit = in_manifests("sizeLimit: ");
        assert_eq!(in_manifests("--cache-size="), limit);
        let size = cache_size(&["--cache-size", &limit]);
        assert_eq!((size, cache_size(&[])), (4 << 30, 4 << 30));
    }

    #[test]
    fn what_is_kept_leaves_room_in_the_volume() {
        for size in [256 << 20, 4 << 30, 1 << 40] {
            let Shares {
                git,
                components,
                indexes,
                compiled,
                archives,
            } = Shares::of(size);
            let kept = git + components + indexes + compiled + archives;
            assert!(kept <= size - size / 8, "{kept} of {size}");
        }
    }
}
