//! How much memory plugins may use together, and how much compiling one may use.

use std::fs;

/// The upper bound for all plugins together, wherever the agent runs.
const MOST: u64 = 1 << 30;

/// The minimum memory for compiling a plugin, however small the container is: what the largest built-in one needs.
const LEAST_TO_COMPILE: u64 = 192 << 20;

/// The files that tell a container its memory limit, one for each version of the kernel's control groups.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The smallest limit that counts as none: where there is no limit, version 1 reports a very large number.
const NO_LIMIT: u64 = 1 << 60;

/// Returns the number of bytes that all plugin calls together may use here. A plugin that uses too much has to fail on its own,
/// and must not take the agent down with it.
pub(super) fn for_plugins() -> u64 {
    of_plugins(limit().as_deref())
}

/// Returns the number of bytes that a process may use here to compile a plugin, or `None` where there is no limit. A compilation
/// that uses too much has to fail on its own as well: the kernel kills all processes of a container together, and after the
/// restart the agent would compile the same plugin again.
pub(super) fn for_compiling() -> Option<u64> {
    of_compiling(limit().as_deref())
}

fn limit() -> Option<String> {
    LIMITS.iter().find_map(|path| fs::read_to_string(path).ok())
}

fn of_plugins(limit: Option<&str>) -> u64 {
    bytes(limit).map_or(MOST, |bytes| MOST.min(bytes / 2))
}

fn of_compiling(limit: Option<&str>) -> Option<u64> {
    // Plugins may be using their half at the same time, and the agent needs the rest.
    bytes(limit).map(|bytes| LEAST_TO_COMPILE.max(bytes / 4))
}

/// Parses the memory limit of the container. `max`, or an empty text, means that there is none.
fn bytes(limit: Option<&str>) -> Option<u64> {
    let limit = limit?.trim().parse::<u64>().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that mean that there is no limit.
    const NONE: [Option<&str>; 4] = [None, Some("max\n"), Some("9223372036854771712\n"), Some("")];

    #[test]
    fn plugins_get_half_of_the_container_and_no_more_than_the_most() {
        assert_eq!(of_plugins(Some("536870912\n")), 256 << 20);
        assert_eq!(of_plugins(Some("17179869184\n")), MOST);
        for none in NONE {
            assert_eq!(of_plugins(none), MOST, "{none:?}");
        }
    }

    #[test]
    fn a_compiler_gets_a_quarter_of_the_container_and_what_built_in_plugins_take() {
        assert_eq!(of_compiling(Some("1073741824\n")), Some(256 << 20));
        assert_eq!(of_compiling(Some("536870912\n")), Some(LEAST_TO_COMPILE));
        for none in NONE {
            assert_eq!(of_compiling(none), None, "{none:?}");
        }
    }

    #[test]
    fn plugins_and_a_compiler_leave_some_of_the_container_to_the_agent() {
        for mebibytes in [512_u64, 1024, 4096] {
            let limit = mebibytes << 20;
            let text = limit.to_string();
            let taken = of_plugins(Some(&text)) + of_compiling(Some(&text)).unwrap();
            assert!(taken <= limit - limit / 8, "{mebibytes}: {taken}");
        }
    }

    #[test]
    fn there_is_some_wherever_this_runs() {
        assert!((1..=MOST).contains(&for_plugins()));
    }
}
