//! `cargo xtask setup`

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use pintle_guests::{DEBIAN_PACKAGES, Toolchain};

use crate::{terminal, workspace};

/// A program that builds or tests call, and the Debian package that contains it.
struct Tool {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool {
        program: "git",
        package: "git",
        why: "the tests push to and clone from repositories",
    },
    Tool {
        program: "ssh",
        package: "openssh-client",
        why: "git over ssh calls it",
    },
    Tool {
        program: "ssh-keygen",
        package: "openssh-client",
        why: "keys for git over ssh",
    },
    Tool {
        program: "sshd",
        package: "openssh-server",
        why: "the tests serve git over ssh",
    },
    Tool {
        program: "docker-registry",
        package: "docker-registry",
        why: "the tests push plugins to a second registry that others wrote",
    },
];

/// Checks the machine and installs what is missing.
pub(crate) fn run() -> Result<()> {
    tools()?;
    go()?;
    wasm_toolchain()?;
    terminal::line("this machine has what builds and tests need");
    Ok(())
}

/// Makes sure that the programs are installed that the tests call.
pub(crate) fn tools() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS
        .iter()
        .filter(|tool| !is_there(tool.program))
        .collect();
    for tool in &missing {
        terminal::line(&format!("{} is missing: {}", tool.program, tool.why));
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    if packages.contains(&"openssh-server") {
        terminal::line(
            "note: Debian starts the ssh service of openssh-server where there is a service manager;",
        );
        terminal::line(
            "      the tests do not need it, and `systemctl disable --now ssh` stops it",
        );
    }
    if packages.is_empty() {
        return Ok(());
    }
    apt_install(&packages)?;
    match missing.iter().find(|tool| !is_there(tool.program)) {
        None => Ok(()),
        Some(tool) => bail!(
            "{} was installed, and there is still no {}",
            tool.package,
            tool.program
        ),
    }
}

/// Makes sure that Go is installed, which the control plane is built with. Debian's version is too old, so it is not installed
/// from there.
pub(crate) fn go() -> Result<()> {
    if is_there("go") {
        return Ok(());
    }
    bail!(
        "no `go` in PATH: the test control plane is a Go program; install Go 1.26 or newer from https://go.dev/dl"
    )
}

/// Makes sure that plugins can be compiled.
pub(crate) fn wasm_toolchain() -> Result<()> {
    let Err(missing) = Toolchain::find() else {
        return Ok(());
    };
    if !is_there("apt-get") {
        return Err(missing.into());
    }
    terminal::line(
        "no compiler for WebAssembly, and rustup cannot add the target: Debian's packages will do",
    );
    apt_install(&DEBIAN_PACKAGES)?;
    Toolchain::find()?;
    Ok(())
}

/// Makes sure that a program can be linked for a musl target, whose C library is linked in, and returns the target.
pub(crate) fn static_toolchain(target: &'static str) -> Result<&'static str> {
    // Where the target is installed, this changes nothing and contacts no server.
    let mut add = Command::new("rustup");
    add.args(["--quiet", "target", "add", target])
        .current_dir(workspace::root());
    workspace::run(&mut add)?;
    // The cryptography is written in C and assembly.
    if !is_there("musl-gcc") {
        apt_install(&["musl-tools"])?;
    }
    Ok(target)
}

/// Looks where an ordinary user's shell would, and where Debian puts daemons.
fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.iter().any(|folder| folder.join(program).is_file())
}

/// Installs Debian packages as root or with sudo. If that is not possible, says what to run.
fn apt_install(packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "apt-get update && apt-get install -y {}",
        packages.join(" ")
    );
    if !is_there("apt-get") {
        bail!(
            "install these with your system's package manager (their names are Debian's): {}",
            packages.join(" ")
        );
    }
    let sudo = if is_root() {
        None
    } else if is_there("sudo") {
        Some("sudo")
    } else {
        bail!("not root, and there is no sudo; as root: {by_hand}");
    };
    let apt = |args: &[&str]| {
        let mut command = match sudo {
            None => Command::new("apt-get"),
            Some(sudo) => {
                let mut command = Command::new(sudo);
                command.arg("apt-get");
                command
            }
        };
        // A package that asks questions would hang a build without a terminal.
        command
            .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.stdin(Stdio::null());
        terminal::line(&format!("running: {}", workspace::show(&command)));
        workspace::run(&mut command)
    };
    apt(&["update"])?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    apt(&install)
}

/// Returns whether the effective user is root, who then owns `/proc/self`.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|metadata| metadata.uid() == 0)
}
