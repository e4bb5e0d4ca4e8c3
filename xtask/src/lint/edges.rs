//! Which crate may use which others: the architecture's arrows (docs/architecture.md, "Invariants", 1 to 3).

use std::path::Path;

use crate::workspace::{Dependency, Package, Workspace};

/// What the crates below one folder may depend on.
struct Rule {
    /// The folder, relative to the root. The longest match counts.
    folder: &'static str,
    /// Folders of this workspace that the crates themselves may use. A folder that ends with `/` stands for everything below it.
    uses: &'static [&'static str],
    /// Additional folders that their build scripts and tests may use.
    tests_use: &'static [&'static str],
    /// All crates from elsewhere that they may use, tests and build scripts aside, if those are limited.
    external: Option<&'static [&'static str]>,
    why: &'static str,
}

const TOOLS: &[&str] = &[
    "agent/core",
    "agent/builtin",
    "tests/harness",
    "xtask/guests",
];
const ARROWS: &str = "arrows point to core, and only the binary wires crates together";
const PLUGINS: &str =
    "plugins are what anyone could write: they use the SDK and nothing of the agent";

const RULES: &[Rule] = &[
    Rule {
        folder: "agent/core",
        uses: &[],
        tests_use: &[],
        external: Some(&[
            "globset",
            "hex",
            "hmac",
            "httpdate",
            "ryu-js",
            "schemars",
            "semver",
            "serde",
            "serde_json",
            "serde_path_to_error",
            "sha2",
            "thiserror",
        ]),
        why: "core has no runtime, client, engine, file system, environment, clock or randomness",
    },
    Rule {
        folder: "agent/source",
        uses: &["agent/core"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "agent/registry",
        uses: &["agent/core"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "agent/host",
        uses: &["agent/core"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "agent/cluster",
        uses: &["agent/core"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "agent/builtin",
        uses: &["agent/core"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "agent/memory",
        uses: &[],
        tests_use: &[],
        external: Some(&[]),
        why: "every copy in the program goes through it, so that nothing that it used could copy",
    },
    Rule {
        folder: "agent/pintle",
        uses: &["agent/"],
        tests_use: TOOLS,
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "sdk",
        uses: &["sdk", "sdk/"],
        tests_use: &["xtask/guests"],
        external: None,
        why: PLUGINS,
    },
    Rule {
        folder: "plugins/renderers/helm",
        uses: &["sdk", "sdk/yaml", "plugins/renderers/helm/"],
        tests_use: &[],
        external: None,
        why: PLUGINS,
    },
    Rule {
        folder: "plugins",
        uses: &["sdk", "sdk/delivery", "sdk/yaml"],
        tests_use: &[],
        external: None,
        why: PLUGINS,
    },
    Rule {
        folder: "tests/guests",
        uses: &["sdk", "sdk/delivery", "sdk/yaml"],
        tests_use: &["xtask/guests"],
        external: None,
        why: PLUGINS,
    },
    Rule {
        folder: "tests/programs",
        uses: &[],
        tests_use: &[],
        external: None,
        why: "what builds real servers must not share the code that is tested against them",
    },
    Rule {
        folder: "tests/helm",
        uses: &[
            "plugins/renderers/helm",
            "plugins/renderers/helm/",
            "sdk",
            "tests/programs",
        ],
        tests_use: &[],
        external: None,
        why: "it calls the renderer's crates natively, and nothing of the agent",
    },
    Rule {
        folder: "tests/harness",
        uses: &["tests/programs"],
        tests_use: &[],
        external: None,
        why: "what starts real servers must not share the code that is tested against them",
    },
    Rule {
        folder: "tests/e2e",
        uses: &["agent/", "tests/", "xtask/"],
        tests_use: &[],
        external: None,
        why: ARROWS,
    },
    Rule {
        folder: "tests/sim",
        uses: &["agent/core"],
        tests_use: &[],
        external: None,
        why: "a fleet in virtual time needs what is pure, and builds in seconds",
    },
    Rule {
        folder: "tests/torture",
        uses: &["tests/harness"],
        tests_use: &[],
        external: None,
        why: "what breaks the agent sees it from outside, as its users do",
    },
    Rule {
        folder: "tests/upgrade",
        uses: &["tests/harness"],
        tests_use: &[],
        external: None,
        why: "two builds of the agent have in common what their users see",
    },
    Rule {
        folder: "xtask/guests",
        uses: &[],
        tests_use: &[],
        external: None,
        why: "build scripts use it, so it comes before everything",
    },
    Rule {
        folder: "xtask",
        uses: &["agent/", "tests/", "xtask/"],
        tests_use: &[],
        external: None,
        why: ARROWS,
    },
];

/// Returns each dependency that breaks a rule, and each crate that has no rule.
pub(super) fn check(workspace: &Workspace) -> Vec<String> {
    let packages = workspace.packages.iter();
    packages
        .flat_map(|package| check_package(package, &workspace.root))
        .collect()
}

fn check_package(package: &Package, root: &Path) -> Vec<String> {
    let folder = relative(package.dir(), root);
    let Some(rule) = RULES
        .iter()
        .filter(|rule| covers(rule.folder, &folder))
        .max_by_key(|rule| rule.folder.len())
    else {
        return vec![format!(
            "{folder}: no rule says what {} may depend on: add one to xtask/src/lint/edges.rs",
            package.name
        )];
    };
    let breaks = |dependency: &&Dependency| match &dependency.path {
        Some(path) => {
            let used = relative(path, root);
            let may = |list: &[&str]| {
                list.iter().any(|allowed| {
                    used == *allowed || (allowed.ends_with('/') && used.starts_with(allowed))
                })
            };
            !(may(rule.uses) || (dependency.kind.is_some() && may(rule.tests_use)))
        }
        None => {
            dependency.kind.is_none()
                && rule
                    .external
                    .is_some_and(|list| !list.contains(&dependency.name.as_str()))
        }
    };
    let broken = package.dependencies.iter().filter(breaks);
    broken
        .map(|dependency| format!("{folder}: depends on {}, but {}", dependency.name, rule.why))
        .collect()
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

fn covers(folder: &str, path: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(folder: &str, dependencies: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let root = Path::new("/w");
        let dependencies = dependencies.iter().map(|(name, kind, path)| Dependency {
            name: (*name).to_owned(),
            kind: kind.map(str::to_owned),
            path: path.map(|path| root.join(path)),
        });
        let package = Package {
            name: "example".to_owned(),
            manifest_path: root.join(folder).join("Cargo.toml"),
            dependencies: dependencies.collect(),
            targets: Vec::new(),
        };
        check_package(&package, root)
    }

    #[test]
    fn core_is_pure_and_its_tests_need_not_be() {
        let tokio = problems(
            "agent/core",
            &[
                ("serde", None, None),
                ("tokio", None, None),
                ("proptest", Some("dev"), None),
            ],
        );
        assert_eq!(tokio.len(), 1, "{tokio:?}");
        assert!(
            tokio[0].starts_with("agent/core: depends on tokio, but core has no runtime"),
            "{tokio:?}"
        );
    }

    #[test]
    fn agent_crates_do_not_know_each_other() {
        assert_eq!(
            problems("agent/host", &[("pintle-core", None, Some("agent/core"))]),
            Vec::<String>::new()
        );
        assert_eq!(
            problems(
                "agent/host",
                &[("pintle-guests", Some("dev"), Some("xtask/guests"))]
            ),
            Vec::<String>::new()
        );
        assert_eq!(
            problems(
                "agent/host",
                &[("pintle-guests", None, Some("xtask/guests"))]
            )
            .len(),
            1
        );
        assert_eq!(
            problems(
                "agent/host",
                &[("pintle-cluster", Some("dev"), Some("agent/cluster"))]
            )
            .len(),
            1
        );
        assert_eq!(
            problems(
                "agent/pintle",
                &[("pintle-cluster", None, Some("agent/cluster"))]
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn plugins_use_the_sdk_only() {
        assert_eq!(
            problems("plugins/a/b", &[("pintle-sdk", None, Some("sdk"))]),
            Vec::<String>::new()
        );
        assert_eq!(
            problems(
                "plugins/a/b",
                &[("pintle-core", Some("dev"), Some("agent/core"))]
            )
            .len(),
            1
        );
        assert_eq!(
            problems("sdk/examples/x", &[("pintle-sdk", None, Some("sdk"))]).len(),
            0
        );
    }

    #[test]
    fn a_crate_without_a_rule_is_a_problem() {
        let problem = problems("tools/new", &[]).remove(0);
        assert_eq!(
            problem,
            "tools/new: no rule says what example may depend on: add one to xtask/src/lint/edges.rs"
        );
    }
}
