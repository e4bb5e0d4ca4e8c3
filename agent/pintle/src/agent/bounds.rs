//! How much memory plugins may take together.

use std::fs;

/// The most of it, wherever the agent runs.
const MOST: u64 = 1 << 30;

/// Where a container finds what it may use, by the version of the kernel's control groups.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Returns the bytes that all calls of plugins may take together here: a plugin that takes much has to fail by itself, and
/// not end the agent with it.
pub(super) fn for_plugins() -> u64 {
    let limit = LIMITS.iter().find_map(|path| fs::read_to_string(path).ok());
    share(limit.as_deref())
}

/// Half of what the container may use: the agent needs the rest. `max`, or nothing, is no limit.
fn share(limit: Option<&str>) -> u64 {
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    limit.map_or(MOST, |limit| MOST.min(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_get_half_of_the_container_and_no_more_than_the_most() {
        assert_eq!(share(Some("536870912\n")), 256 << 20);
        assert_eq!(share(Some("17179869184\n")), MOST);
        // Version 1 says a very large number where there is no limit.
        for none in [None, Some("max\n"), Some("9223372036854771712\n"), Some("")] {
            assert_eq!(share(none), MOST, "{none:?}");
        }
    }

    #[test]
    fn there_is_some_wherever_this_runs() {
        assert!((1..=MOST).contains(&for_plugins()));
    }
}
