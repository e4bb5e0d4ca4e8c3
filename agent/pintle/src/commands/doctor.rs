//! `pintle doctor`: checks one by one what pintle needs.

mod installed;

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use owo_colors::OwoColorize as _;
use pintle_cluster::Cluster;
use pintle_core::causes::chain;
use pintle_host::{Host, LoadRequest, Options};
use serde::Serialize;

use super::{session::compiled_dir, target::connect};
use crate::cli::{args::DoctorCommand, cache::cache_dir, exit::Exit, output};

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// Whether `pintle` needs it. If not, `pintle` still works for some purposes without it.
    required: bool,
    message: String,
}

pub(super) async fn run(args: &DoctorCommand) -> anyhow::Result<Exit> {
    let compiled = cache_dir().ok().map(|dir| compiled_dir(&dir));
    let (host, refused) = host(compiled);
    let mut findings = vec![
        plugins(host).await,
        cache(refused),
        program("git", "pushing; pintle itself needs none"),
        program("ssh", "sources with ssh:// URLs"),
    ];
    findings.extend(cluster(args).await);
    if let Some(format) = args.output.output {
        output::machine(format, &findings)?;
    } else {
        for finding in &findings {
            let mark = match (finding.ok, finding.required) {
                (true, _) => "ok  ".green().to_string(),
                (false, true) => "FAIL".red().bold().to_string(),
                (false, false) => "warn".yellow().to_string(),
            };
            output::text(&format!("{mark} {}: {}", finding.check, finding.message));
        }
    }
    let failed = findings
        .iter()
        .any(|finding| finding.required && !finding.ok);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Whether pintle needs something to work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Without it, pintle still works for some purposes.
    Optional,
}

fn finding(check: &'static str, need: Need, result: Result<String, String>) -> Finding {
    let ok = result.is_ok();
    let message = result.unwrap_or_else(|error| error);
    Finding {
        check,
        ok,
        required: need == Need::Required,
        message,
    }
}

/// Creates the host for plugins as every command does. If its cache cannot be used, the host has none, and the reason is
/// returned.
fn host(cache: Option<PathBuf>) -> (Result<Host, String>, Option<String>) {
    let options = Options {
        cache,
        ..Options::default()
    };
    match Host::new(options) {
        Ok(host) => (Ok(host), None),
        Err(error) => {
            let host = Host::new(Options::default()).map_err(|error| chain(&error));
            (host, Some(chain(&error)))
        }
    }
}

async fn plugins(host: Result<Host, String>) -> Finding {
    let load = async {
        let host = host?;
        for component in pintle_builtin::components() {
            let request =
                LoadRequest::new(component.name, bytes::Bytes::from_static(component.bytes));
            host.load(request).await.map_err(|error| chain(&error))?;
        }
        Ok(format!(
            "{} built-in plugins load",
            pintle_builtin::components().len()
        ))
    };
    finding("plugins", Need::Required, load.await)
}

/// Checks whether the cache is usable. `refused` is why compiled plugins cannot be kept, if that is known.
fn cache(refused: Option<String>) -> Finding {
    let result = cache_dir().map_err(|error| chain(&*error)).and_then(|dir| {
        let usable = refused.map_or_else(|| usable(&dir), Err);
        let dir = dir.display();
        match usable {
            Ok(()) => Ok(format!("{dir} can be used")),
            Err(why) => Err(format!(
                "nothing or not all is kept for the next time: {why}; who uses {dir} has to own it, or name another folder in \
                 PINTLE_CACHE"
            )),
        }
    });
    finding("cache", Need::Optional, result)
}

/// Tries to write into the folder of each kind of cached content.
fn usable(dir: &Path) -> Result<(), String> {
    for kept in ["git", "components", "compiled"] {
        let folder = dir.join(kept);
        // Created as commands create it: compiled plugins would be refused from a folder that a group may write to.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .and_then(|()| tempfile::tempfile_in(&folder))
            .map_err(|error| format!("{} cannot be written to: {error}", folder.display()))?;
    }
    Ok(())
}

fn program(name: &'static str, purpose: &str) -> Finding {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    let result = match found {
        Some(path) => Ok(format!("{} ({purpose})", path.display())),
        None => Err(format!("is not installed: it is needed for {purpose}")),
    };
    finding(name, Need::Optional, result)
}

async fn cluster(args: &DoctorCommand) -> Vec<Finding> {
    let connection = match connect(&args.connection).await {
        Ok(connection) => connection,
        Err(error) => return vec![finding("cluster", Need::Required, Err(chain(&*error)))],
    };
    let version = connection.version().await;
    let reached =
        version.map(|version| format!("{} answers as {}", connection.server(), version.text));
    let mut findings = vec![finding(
        "cluster",
        Need::Required,
        reached.map_err(|error| chain(&error)),
    )];
    if findings[0].ok {
        let cluster = Cluster::new(connection.clone());
        let kinds = cluster.discovery().kinds().await;
        let kinds = kinds.map(|kinds| format!("{} APIs are served", kinds.api_versions().len()));
        findings.push(finding(
            "discovery",
            Need::Required,
            kinds.map_err(|error| chain(&error)),
        ));
        findings.extend(installed::look(&connection, &cluster.reader()).await);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_usable_where_all_of_it_can_be_written_to_and_is_needed_by_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("pintle");
        assert_eq!(usable(&cache), Ok(()));
        for kept in std::fs::read_dir(&cache).unwrap() {
            let left = std::fs::read_dir(kept.unwrap().path()).unwrap();
            assert_eq!(left.count(), 0, "nothing is left behind");
        }
        let git = cache.join("git");
        std::fs::remove_dir(&git).unwrap();
        std::fs::write(&git, "a file").unwrap();
        let why = usable(&cache).unwrap_err();
        assert!(why.contains("git cannot be written to"), "{why}");

        let (host, refused) = host(Some(git));
        assert!(host.is_ok(), "plugins load without it");
        assert!(refused.is_some());
    }
}
