//! Compiling in a process of its own.
//!
//! The compiler takes many times the memory of what it makes, and an allocator rarely gives that back: an agent that
//! compiled once would stay as large as it was then. A child takes it along when it ends, and a component on which the
//! compiler crashes does not end the agent. Nor does one for which it runs out of memory, if the child ends before the
//! kernel ends everything in the container: so it limits what it takes.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use crate::{Options, compiled::CompiledStore, world::Unloadable};

/// Most bytes of what a compiler says that are read.
const SAID: u64 = 64 << 10;

/// A program that calls [`compile`] with the component that it reads from its standard input, under [`Options`] with the
/// same folder and number of calls as the host's. Where that refuses the component, the program prints the reason to its
/// standard output and ends with [`REFUSED`]. Where memory ran out it aborts, and where it could not write what it had
/// compiled it ends with [`UNWRITTEN`].
///
/// The program must be of the same build as the host: code that another one made is not found, and compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment, and nothing beside it.
    pub environment: Vec<(OsString, OsString)>,
    /// Most bytes of memory that it gives itself, for messages; nothing if it has no bound. The program is told by its
    /// arguments. With a bound, what the program fails to compile is not compiled by the host instead, and what the host has to
    /// compile by itself it compiles on one processor.
    pub memory: Option<u64>,
    /// How long it may take for one component. Then it is killed: others wait for their turn.
    pub time: Duration,
}

/// The exit code of a [`Compiler`] for a component that does not compile.
pub const REFUSED: u8 = 1;

/// The exit code of a [`Compiler`] that had memory enough for a component, and no place for what it made of it.
pub const UNWRITTEN: u8 = 5;

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Why a compiler process gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The component is at fault.
    Component(Unloadable),
    /// The process was killed from outside, by the kernel if memory ran out. Nothing is known of the component, and there
    /// may be memory for it later.
    Killed,
    /// The process has a bound of its memory, and ended so without having compiled. Nothing is known of the component.
    Ended(String),
    /// The process compiled the component, and could not write what it made.
    Unwritten,
    /// The process did not work; nothing is known of the component.
    Process(io::Error),
}

impl Compiler {
    /// Lets the process compile a component into the cache.
    pub(crate) fn run(&self, component: &[u8]) -> Result<(), Failure> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
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
        let status = child.wait().map_err(|error| self.failed(error))?;
        match said {
            Ok(said) => self.outcome(status, &String::from_utf8_lossy(&said)),
            Err(_) => Err(Failure::Component(Unloadable::Compile(format!(
                "the compiler took longer than {:?}: make the component smaller, or give the agent more CPU",
                self.time
            )))),
        }
    }

    fn outcome(&self, status: ExitStatus, said: &str) -> Result<(), Failure> {
        match status.code() {
            Some(0) => Ok(()),
            Some(code) if code == i32::from(REFUSED) && !said.trim().is_empty() => {
                let reason = said.trim().to_owned();
                Err(Failure::Component(Unloadable::Malformed(reason)))
            }
            Some(code) if code == i32::from(UNWRITTEN) => Err(Failure::Unwritten),
            // A crash of the compiler: to try that in this process would be to ask for the same.
            Some(PANICKED) => Err(Failure::Component(self.crashed(status))),
            Some(_) => Err(self.failed(io::Error::other(status.to_string()))),
            None if status.signal() == Some(Signal::SIGKILL as i32) => Err(Failure::Killed),
            None => Err(Failure::Component(self.crashed(status))),
        }
    }

    /// Tells of a process that was started and says nothing of the component.
    fn failed(&self, error: io::Error) -> Failure {
        if self.memory.is_some() {
            Failure::Ended(error.to_string())
        } else {
            Failure::Process(error)
        }
    }

    /// Tells of a crash. One for want of memory looks like any other.
    fn crashed(&self, status: ExitStatus) -> Unloadable {
        let bound = self.memory.map(|bytes| {
            format!(
                "; it may take {} MiB of memory: if that is too little, give the agent more, or make the component smaller",
                bytes >> 20
            )
        });
        let bound = bound.unwrap_or_default();
        Unloadable::Compile(format!("the compiler ended with {status}{bound}"))
    }
}

/// Compiles a component into the cache: the part of a [`Compiler`]'s process. Where `memory` is given this process may take
/// so many bytes more than it has by then, from then on. Where it needs more it is aborted, or gets [`CompileError::Memory`]:
/// it depends on what the memory was for.
pub fn compile(
    options: &Options,
    component: &[u8],
    memory: Option<u64>,
) -> Result<(), CompileError> {
    let engine = crate::engine::build(options)?;
    let store = CompiledStore::new(engine, options)?;
    if let Some(Err(error)) = memory.map(limit_memory) {
        tracing::warn!(%error, "the memory of the compiler cannot be limited");
    }
    store.compile_to_disk(component)
}

/// Lets this process take so many bytes more than it has.
///
/// The limit is on what it may write to and shares with nobody. One on the address space would not do: the engine reserves
/// hundreds of GiB for the memories of instances. Their tables are writable from the start, and nothing is instantiated
/// here, so what there is by now counts in addition.
fn limit_memory(bytes: u64) -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let taken = data(&status).ok_or_else(|| {
        io::Error::other("/proc/self/status has no line such as `VmData: 1024 kB`")
    })?;
    let (_, most) = getrlimit(Resource::RLIMIT_DATA)?;
    let limit = taken.saturating_add(bytes).min(most);
    setrlimit(Resource::RLIMIT_DATA, limit, most).map_err(io::Error::from)
}

/// Reads the bytes that count for the limit.
fn data(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmData:"))?;
    let kibibytes: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
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
    /// There is no memory for what is made of it.
    #[error("memory ran out: {0}")]
    Memory(String),
    /// What was compiled was not written.
    #[error("the compiled code cannot be written")]
    Write(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Compiler {
        Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            memory: None,
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

    /// What is told of a component on which the compiler crashes.
    fn crash(compiler: &Compiler) -> String {
        match compiler.run(&vec![0; 1 << 20]) {
            Err(Failure::Component(reason @ Unloadable::Compile(_))) => {
                assert!(!reason.is_retryable());
                reason.to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_crash_is_of_the_component_too() {
        for (script, told) in [
            ("kill -SEGV $$", "signal: 11"),
            ("kill -ABRT $$", "signal: 6"),
            ("exit 101", "exit status: 101"),
        ] {
            let text = crash(&shell(script));
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn a_crash_where_memory_is_bounded_tells_the_bound() {
        let bounded = Compiler {
            memory: Some(256 << 20),
            ..shell("exit 101")
        };
        insta::assert_snapshot!(crash(&bounded), @"it could not be compiled: the compiler ended with exit status: 101; it may take 256 MiB of memory: if that is too little, give the agent more, or make the component smaller");
    }

    #[test]
    fn what_counts_for_the_limit_is_read_from_the_kernel() {
        let status = "Name:\tpintle\nVmPeak:\t     100 kB\nVmData:\t    2048 kB\nVmStk:\t 132 kB\n";
        assert_eq!(data(status), Some(2 << 20));
        for none in ["", "VmData:", "VmData:\t 5 MB\n", "VmData:\t -5 kB\n"] {
            assert_eq!(data(none), None, "{none}");
        }
    }

    #[test]
    fn the_environment_is_what_is_given() {
        let told = Compiler {
            environment: vec![("TOLD".into(), "yes".into())],
            ..shell("test \"$TOLD\" = yes && test -z \"$HOME\"")
        };
        assert!(told.run(b"").is_ok());
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
    fn a_process_with_a_bound_that_does_not_work_is_started_again_later() {
        for script in ["echo 'no space left' >&2; exit 1", "exit 2"] {
            let bounded = Compiler {
                memory: Some(256 << 20),
                ..shell(script)
            };
            match bounded.run(b"") {
                Err(Failure::Ended(how)) => assert!(how.contains("exit status: "), "{how}"),
                other => panic!("{other:?}"),
            }
        }
        // It had memory enough.
        let unwritten = Compiler {
            memory: Some(256 << 20),
            ..shell("exit 5")
        };
        assert!(matches!(unwritten.run(b""), Err(Failure::Unwritten)));
        // What was never started has used nothing.
        let absent = Compiler {
            program: "/no/such/program".into(),
            memory: Some(256 << 20),
            ..shell("")
        };
        assert!(matches!(absent.run(b""), Err(Failure::Process(_))));
        let unfinished = Unloadable::Unfinished("exit status: 2".to_owned());
        assert!(unfinished.is_retryable());
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
