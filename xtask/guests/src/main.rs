//! `pintle-guests OUT_DIR PACKAGE...` builds packages of the workspace around the current folder as components.

#![expect(clippy::print_stdout, reason = "the program's output")]

use std::path::Path;

use anyhow::{Result, bail};
use pintle_guests::{Guest, Workspace, build_in};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((out_dir, packages)) = arguments
        .split_first()
        .filter(|(_, packages)| !packages.is_empty())
    else {
        bail!("usage: pintle-guests OUT_DIR PACKAGE...");
    };
    let guests: Vec<Guest> = packages.iter().map(Guest::new).collect();
    let workspace = Workspace::around(Path::new("."))?;
    for artifact in build_in(&workspace, &guests, Path::new(out_dir))? {
        println!(
            "{} {} {} bytes",
            artifact.path.display(),
            artifact.digest,
            artifact.bytes.len()
        );
    }
    Ok(())
}
