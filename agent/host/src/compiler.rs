//! Compiling in a process of its own.
//!
//! The compiler takes many times the memory of what it makes, and an allocator rarely gives that back: an agent that
//! compiled once would stay as large as it was then. A child takes it along when it ends, and a component on which the
//! compiler crashes or for which it runs out of memory does not end the agent.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{Options, compiled::CompiledStore, world::Unloadable};

/// Most bytes of what a compiler says that are read.
const SAID: u64 = 64 << 10;

/// A program that calls [`compile`] with the component that it reads from its standard input, under [`Options`] with the
/// same folder and number of calls as the host's. Where that refuses the component, the program prints the reason to its
/// standard output and ends with [`REFUSED`].
///
/// The program must be of the same build as the host: code that another one made is not found, and compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How long it may take for one component. Then it is killed: others wait for their turn.
    pub time: Duration,
}

/// The exit code of a [`Compiler`] for a component that does not compile.
pub const REFUSED: u8 = 1;

/// Why a compiler process gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The component is at fault.
    Component(Unloadable),
    /// The process was killed from outside, by the kernel if memory ran out. Nothing is known of the component, and there
    /// may be memory for it later.
    Killed,
    /// The process did not work; nothing is known of the component.
    Process(std::io::Error),
}

impl Compiler {
    /// Lets the process compile a component into the cache.
    pub(crate) fn run(&self, component: &[u8]) -> Result<(), Failure> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::Process)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (tell, told) = mpsc::channel();
        let said = thread::scope(|scope| {
            // Both ends at once: a pipe that nobody reads stops whoever writes.
            scope.spawn(move || {
                // A process that ends early says why by its exit.
                stdin.map(|mut stdin| stdin.write_all(component))
            });
            scope.spawn(move || {
                let mut said = Vec::new();
                if let Some(stdout) = stdout {
                    // What it could not say is missing from a message, and from nothing else.
                    let _ = stdout.take(SAID).read_to_end(&mut said);
                }
                // Nobody listens any more to one that took too long.
                let _ = tell.send(said);
            });
            // The process says nothing more when it has ended.
            let said = told.recv_timeout(self.time);
            if said.is_err() {
                // One that cannot be killed has just ended.
                let _ = child.kill();
            }
            said
        });
        let status = child.wait().map_err(Failure::Process)?;
        match said {
            Ok(said) => outcome(status, &String::from_utf8_lossy(&said)),
            Err(_) => Err(Failure::Component(Unloadable::Compile(format!(
                "the compiler took longer than {:?}: make the component smaller, or give the agent more CPU",
                self.time
            )))),
        }
    }
}

fn outcome(status: ExitStatus, said: &str) -> Result<(), Failure> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if code == i32::from(REFUSED) && !said.trim().is_empty() => {
            let reason = said.trim().to_owned();
            Err(Failure::Component(Unloadable::Malformed(reason)))
        }
        Some(_) => Err(Failure::Process(std::io::Error::other(status.to_string()))),
        None if status.signal() == Some(Signal::SIGKILL as i32) => Err(Failure::Killed),
        // A crash of the compiler: to try that in this process would be to ask for the same.
        None => Err(Failure::Component(Unloadable::Compile(format!(
            "the compiler ended with {status}"
        )))),
    }
}

/// Compiles a component into the cache: the part of a [`Compiler`]'s process.
pub fn compile(options: &Options, component: &[u8]) -> Result<(), CompileError> {
    let engine = crate::engine::build(options.instances())?;
    let store = CompiledStore::new(engine, options)?;
    store.compile_to_disk(component)
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The engine or the cache does not work.
    #[error(transparent)]
    Host(#[from] crate::HostError),
    /// There is no folder for what is compiled.
    #[error("the options name no folder for compiled code")]
    NoCache,
    /// It does not compile, for this reason.
    #[error("{0}")]
    Component(String),
    /// What was compiled was not written.
    #[error("the compiled code cannot be written")]
    Write(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Compiler {
        Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            time: Duration::from_mins(1),
        }
    }

    #[test]
    fn a_refusal_is_of_the_component_and_names_the_reason() {
        let refused = shell("cat >/dev/null; echo 'it is no component'; exit 1");
        match refused.run(b"component") {
            Err(Failure::Component(Unloadable::Malformed(reason))) => {
                assert_eq!(reason, "it is no component");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_crash_is_of_the_component_too() {
        for (signal, number) in [("SEGV", "signal: 11"), ("ABRT", "signal: 6")] {
            match shell(&format!("kill -{signal} $$")).run(&vec![0; 1 << 20]) {
                Err(Failure::Component(reason @ Unloadable::Compile(_))) => {
                    assert!(reason.to_string().contains(number), "{reason}");
                    assert!(!reason.is_retryable());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn who_is_killed_says_nothing_of_the_component() {
        let killed = shell("kill -KILL $$").run(&vec![0; 1 << 20]);
        assert!(matches!(killed, Err(Failure::Killed)), "{killed:?}");
        assert!(Unloadable::Interrupted.is_retryable());
    }

    #[test]
    fn one_that_takes_too_long_is_killed() {
        let endless = Compiler {
            time: Duration::from_millis(20),
            ..shell("exec sleep 600")
        };
        match endless.run(&vec![0; 1 << 20]) {
            Err(Failure::Component(reason @ Unloadable::Compile(_))) => {
                insta::assert_snapshot!(reason, @"it could not be compiled: the compiler took longer than 20ms: make the component smaller, or give the agent more CPU");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_process_that_does_not_work_says_nothing_of_the_component() {
        let absent = Compiler {
            program: "/no/such/program".into(),
            ..shell("")
        };
        assert!(matches!(absent.run(b""), Err(Failure::Process(_))));
        for script in ["echo 'unknown argument' >&2; exit 2", "exit 1"] {
            let failed = shell(script).run(b"");
            assert!(matches!(failed, Err(Failure::Process(_))), "{failed:?}");
        }
    }
}
