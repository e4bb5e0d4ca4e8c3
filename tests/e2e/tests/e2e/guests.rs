//! Components that behave as a test requires.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use pintle_harness::agent;

/// Returns the path of the policy of `tests/guests`, built as a component.
pub(crate) fn telltale() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| built("pintle-guest-policy").expect("the policy is built"))
}

fn built(package: &str) -> Result<String> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let output = Command::new(agent::program("pintle-guests")?)
        .arg(&out)
        .arg(package)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .context("start pintle-guests")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{package} is not built: {}\n{said}", output.status);
    }
    let path = out.join(format!("{package}.wasm"));
    let path = path.to_str().context("the path of a component is UTF-8")?;
    Ok(path.to_owned())
}
