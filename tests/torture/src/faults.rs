//! Faults of the agent's machine: its clock, its disk. A library that is preloaded into the agent simulates both.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const SOURCE: &str = include_str!("../faults/faults.c");

/// Compiles the library into a folder, with the compiler that also links Rust programs.
pub(crate) fn build(dir: &Path) -> Result<PathBuf> {
    let source = dir.join("faults.c");
    std::fs::write(&source, SOURCE).with_context(|| format!("write {}", source.display()))?;
    let library = dir.join("faults.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .output()
        .with_context(|| format!("run {}: install a C compiler", compiler.display()))?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            compiler.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(library)
}

/// The clock and the disk of one agent.
#[derive(Debug)]
pub(crate) struct Machine {
    file: File,
    path: PathBuf,
}

impl Machine {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let made = || -> std::io::Result<File> {
            let file = File::create(path)?;
            file.write_all_at(&[0; 16], 0)?;
            Ok(file)
        };
        Ok(Self {
            file: made().with_context(|| format!("make {}", path.display()))?,
            path: path.to_owned(),
        })
    }

    /// Returns the environment variables that the agent needs.
    pub(crate) fn environment(&self, library: &Path) -> [(String, String); 2] {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        [
            ("LD_PRELOAD".to_owned(), text(library)),
            ("PINTLE_TORTURE_FAULTS".to_owned(), text(&self.path)),
        ]
    }

    /// Sets the wall clock this many seconds ahead of the real one.
    pub(crate) fn set_clock(&self, ahead: i64) -> Result<()> {
        self.set(0, ahead * 1_000_000_000)
    }

    pub(crate) fn fill_disk(&self, full: bool) -> Result<()> {
        self.set(8, i64::from(full))
    }

    fn set(&self, offset: u64, value: i64) -> Result<()> {
        self.file
            .write_all_at(&value.to_ne_bytes(), offset)
            .with_context(|| format!("write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_the_clock_and_the_disk_that_it_is_given() -> Result<()> {
        let dir = pintle_harness::RunDir::new("faults")?;
        let library = build(dir.path())?;
        let machine = Machine::new(&dir.path().join("machine"))?;
        let run = |program: &str, args: &[&str]| -> Result<std::process::Output> {
            let mut command = Command::new(program);
            command.args(args).envs(machine.environment(&library));
            Ok(command.output()?)
        };
        let year = |output: std::process::Output| -> Result<u32> {
            Ok(String::from_utf8(output.stdout)?.trim().parse()?)
        };
        let now = year(run("date", &["+%Y"])?)?;
        machine.set_clock(3 * 366 * 24 * 3600)?;
        assert!(year(run("date", &["+%Y"])?)? >= now + 3);

        let (from, to) = (dir.path().join("faults.c"), dir.path().join("copy"));
        let copy = [from.to_string_lossy(), to.to_string_lossy()];
        let copy = [&*copy[0], &*copy[1]];
        machine.fill_disk(true)?;
        let refused = run("cp", &copy)?;
        assert!(!refused.status.success());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left"));
        machine.fill_disk(false)?;
        assert!(run("cp", &copy)?.status.success());
        Ok(())
    }
}
