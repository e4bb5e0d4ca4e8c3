//! How much memory plugins may take together, and how much it may take to compile one.

use std::fs;

/// The most that plugins take, wherever the agent runs.
const MOST: u64 = 1 << 30;

/// The least with which a plugin is compiled, however small the container is: what the largest built-in one takes.
const LEAST_TO_COMPILE: u64 = 192 << 20;

/// Where a container finds what it may use, by the version of the kernel's control groups.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// What is no limit: version 1 says a very large number where there is none.
const NO_LIMIT: u64 = 1 << 60;

/// Returns the bytes that all calls of plugins may take together here: a plugin that takes much has to fail by itself, and
/// not end the agent with it.
pub(super) fn for_plugins() -> u64 {
    of_plugins(limit().as_deref())
}

/// Returns the bytes that a process may take here to compile a plugin, nothing where there is no limit: one that takes more
/// has to fail by itself as well. The kernel ends all processes of a container together, and after the restart the agent
/// would compile the same again.
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
    // While plugins take their half: the agent needs the rest.
    bytes(limit).map(|bytes| LEAST_TO_COMPILE.max(bytes / 4))
}

/// Reads what the container may use. `max`, or nothing, is no limit.
fn bytes(limit: Option<&str>) -> Option<u64> {
    let limit = limit?.trim().parse::<u64>().ok()?;
    (limit < NO_LIMIT).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What says that there is no limit.
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
