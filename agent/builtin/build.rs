//! Builds the first-party plugins as components and writes the list that `src/lib.rs` includes.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use pintle_guests::{Artifact, Guest};

/// The name, kind and package of each plugin.
const PLUGINS: [(&str, &str, &str); 6] = [
    ("manifests", "Renderer", "pintle-renderer-manifests"),
    ("helm", "Renderer", "pintle-renderer-helm"),
    ("guardrails", "Policy", "pintle-policy-guardrails"),
    ("kubernetes", "Health", "pintle-health-kubernetes"),
    ("webhook", "Notifier", "pintle-notifier-webhook"),
    ("slack", "Notifier", "pintle-notifier-slack"),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&*error);
            while let Some(error) = cause {
                // Each line gets a directive of its own: Cargo shows each as an error of this package.
                for line in error.to_string().lines() {
                    println!("cargo::error={line}");
                }
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this through Cargo")?);
    let guests = PLUGINS.map(|(_, _, package)| Guest::new(package));
    let artifacts = pintle_guests::build(&guests, &out_dir)?;
    fs::write(out_dir.join("components.rs"), list(&artifacts)?)?;
    pintle_guests::rerun_if_changed(&artifacts);
    Ok(())
}

fn list(artifacts: &[Artifact]) -> Result<String, Box<dyn std::error::Error>> {
    let mut list = String::from("[\n");
    for ((name, kind, _), artifact) in PLUGINS.iter().zip(artifacts) {
        let file = format!("concat!(env!(\"OUT_DIR\"), \"/{}.wasm\")", artifact.name);
        writeln!(
            list,
            "    Component::new({name:?}, Kind::{kind}, include_bytes!({file}), {:?}),",
            bytes(&artifact.digest)?
        )?;
    }
    list.push(']');
    Ok(list)
}

/// Parses `sha256:…` at build time, so that nothing has to digest megabytes at each start.
fn bytes(digest: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let digits = digest
        .strip_prefix("sha256:")
        .ok_or("a digest of another kind")?;
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    pairs.map(byte).collect()
}
