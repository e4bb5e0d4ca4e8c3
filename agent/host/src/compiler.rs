//! Compilation in a separate process.
//!
//! The compiler takes many times the memory of its output, and an allocator rarely gives that back: an agent that compiled once
//! would stay that large. A child process releases it when it ends, and a component that crashes the compiler does not end the
//! agent. Nor does a component for which the compiler runs out of memory, if the child ends before the kernel ends everything in
//! the container. The child therefore limits its own memory.

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

/// The maximum number of bytes read from a compiler's output.
const SAID: u64 = 64 << 10;

/// A program that calls [`compile`] with the component from its standard input, using [`Options`] with the same folder and number
/// of calls as the host's. If the component is rejected, the program prints the reason to its standard output and exits with
/// [`REFUSED`]. If memory runs out, it aborts. If it cannot write the compiled code, it exits with [`UNWRITTEN`].
///
/// The program must be of the same build as the host: code from another build is not found, and is compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// The arguments of the program.
    pub arguments: Vec<OsString>,
    /// The complete environment of the program.
    pub environment: Vec<(OsString, OsString)>,
    /// The maximum memory in bytes that the program allows itself, for use in messages; `None` if it has no limit. The program
    /// receives the limit through its arguments. With a limit, the host does not compile what the program fails to compile, and
    /// whatever the host has to compile itself, it compiles on one processor.
    pub memory: Option<u64>,
    /// The timeout for one component. The process is then killed, because others wait for their turn.
    pub time: Duration,
}

/// The exit code of a [`Compiler`] for a component that does not compile.
pub const REFUSED: u8 = 1;

/// The exit code of a [`Compiler`] that had enough memory for a component but could not store the result.
pub const UNWRITTEN: u8 = 5;

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// The reason why a compiler process produced nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The component is at fault.
    Component(Unloadable),
    /// The process was killed from outside, by the kernel if memory ran out. Nothing is known about the component, and there may
    /// be enough memory for it later.
    Killed,
    /// The process has a memory limit, and ended like this without having compiled. Nothing is known about the component.
    Ended(String),
    /// The process compiled the component but could not write the result.
    Unwritten,
    /// The process did not work. Nothing is known about the component.
    Process(io::Error),
}

impl Compiler {
    /// Makes the process compile a component into the cache.
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
            // Both ends at once: a pipe that nobody reads blocks its writer.
            scope.spawn(move || {
                // A process that ends early reports why through its exit.
                stdin.map(|mut stdin| stdin.write_all(component))
            });
            scope.spawn(move || {
                let mut said = Vec::new();
                if let Some(stdout) = stdout {
                    // If its output cannot be read, only a message suffers.
                    let _ = stdout.take(SAID).read_to_end(&mut said);
                }
                // If it took too long, nobody listens any more.
                let _ = tell.send(said);
            });
            // The process says nothing more once it has ended.
            let said = told.recv_timeout(self.time);
            if said.is_err() {
                // A process that cannot be killed has just ended.
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
            // The compiler crashed. Compiling in this process would invite the same crash.
            Some(PANICKED) => Err(Failure::Component(self.crashed(status))),
            Some(_) => Err(self.failed(io::Error::other(status.to_string()))),
            None if status.signal() == Some(Signal::SIGKILL as i32) => Err(Failure::Killed),
            None => Err(Failure::Component(self.crashed(status))),
        }
    }

    /// Returns the failure of a process that was started and reported nothing about the component.
    fn failed(&self, error: io::Error) -> Failure {
        if self.memory.is_some() {
            Failure::Ended(error.to_string())
        } else {
            Failure::Process(error)
        }
    }

    /// Returns the error for a crash. Running out of memory looks like any other crash.
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

/// Compiles a component into the cache. This is what the process of a [`Compiler`] runs. With `memory`, this process may from
/// then on allocate that many bytes beyond what it has already. If it needs more, it is aborted or gets
/// [`CompileError::Memory`], depending on what the memory was for.
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

/// Limits this process to the given number of bytes beyond what it already has.
///
/// The limit is on private writable memory. A limit on the address space would not work: the engine reserves hundreds of GiB for
/// the memories of instances. Their tables are writable from the start, and nothing is instantiated here, so the current memory
/// is added to the limit.
fn limit_memory(bytes: u64) -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let taken = data(&status).ok_or_else(|| {
        io::Error::other("/proc/self/status has no line such as `VmData: 1024 kB`")
    })?;
    let (_, most) = getrlimit(Resource::RLIMIT_DATA)?;
    let limit = taken.saturating_add(bytes).min(most);
    setrlimit(Resource::RLIMIT_DATA, limit, most).map_err(io::Error::from)
}

/// Reads the number of bytes that count towards the limit.
fn data(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmData:"))?;
    let kibibytes: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// The reason why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The engine or the cache does not work.
    #[error(transparent)]
    Host(#[from] crate::HostError),
    /// The options name no folder for compiled code.
    #[error("the options name no folder for compiled code")]
    NoCache,
    /// The component does not compile, for this reason.
    #[error("{0}")]
    Component(String),
    /// There is not enough memory for the compiled code.
    #[error("memory ran out: {0}")]
    Memory(String),
    /// The compiled code could not be written.
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

    /// Returns the message for a component that crashes the compiler.
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
        // It had enough memory.
        let unwritten = Compiler {
            memory: Some(256 << 20),
            ..shell("exit 5")
        };
        assert!(matches!(unwritten.run(b""), Err(Failure::Unwritten)));
        // A process that was never started has used nothing.
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
