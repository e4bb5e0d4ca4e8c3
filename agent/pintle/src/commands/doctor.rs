//! `pintle doctor`: what pintle needs, looked at one by one.

mod installed;

use owo_colors::OwoColorize as _;
use pintle_cluster::Cluster;
use pintle_core::causes::chain;
use pintle_host::{Host, LoadRequest, Options};
use serde::Serialize;

use super::target::connect;
use crate::cli::{args::DoctorCommand, cache::cache_dir, exit::Exit, output};

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    /// Without it `pintle` still works for some purposes.
    required: bool,
    message: String,
}

pub(super) async fn run(args: &DoctorCommand) -> anyhow::Result<Exit> {
    let mut findings = vec![
        plugins().await,
        cache(),
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

/// Whether pintle works without something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// It still works for some purposes.
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

async fn plugins() -> Finding {
    let load = async {
        let host = Host::new(Options {
            cache: cache_dir().ok().map(|dir| dir.join("compiled")),
            ..Options::default()
        })
        .map_err(|error| chain(&error))?;
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

fn cache() -> Finding {
    let result = cache_dir().and_then(|dir| {
        std::fs::create_dir_all(&dir)?;
        Ok(format!("{} can be used", dir.display()))
    });
    finding(
        "cache",
        Need::Optional,
        result.map_err(|error| chain(&*error)),
    )
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
