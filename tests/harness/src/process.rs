//! Child processes that never outlive their parent and never lose their log.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// How long a process may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(25);
/// How many lines of a log an error shows.
const TAIL_LINES: usize = 20;

/// A running child process with its own process group.
///
/// Its standard error goes to a log file. Its standard input is a pipe that closes when this process ends. Where `setpriv`
/// (util-linux) is installed, the kernel also kills it then: an interrupted test run leaves nothing behind. Dropping it ends it,
/// gracefully first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Mutex<mpsc::Receiver<String>>,
    log: PathBuf,
    detached: bool,
}

/// The resources that a process has used since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The user and system time of all its threads and of the children that it waited for.
    pub cpu: Duration,
    /// The maximum amount of memory that was resident at one time, in bytes.
    pub peak_memory: u64,
}

impl Process {
    /// Starts `command`, appending its standard error to the file `log`. `name` is used in messages.
    pub fn spawn(name: &str, command: Command, log: &Path) -> Result<Self> {
        Self::spawn_as(name, command, log, false)
    }

    /// Does the same as [`Process::spawn`], for a process that keeps running after this one has ended.
    pub fn spawn_detached(name: &str, command: Command, log: &Path) -> Result<Self> {
        Self::spawn_as(name, command, log, true)
    }

    fn spawn_as(name: &str, command: Command, log: &Path, detached: bool) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open the log of {name}, {}", log.display()))?;
        let mut command = if detached {
            command
        } else {
            dying_with_parent(command)
        };
        command
            .stdin(if detached {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0);
        let mut child = spawn_from_lasting_thread(command)
            .with_context(|| format!("start {name}: {program}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("standard output is a pipe")?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Keeps reading even if nobody listens: otherwise the child would block on a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin,
            lines: Mutex::new(lines),
            log: log.to_owned(),
            detached,
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the file with the process's standard error.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for the next line on the process's standard output.
    ///
    /// Fails, with the end of its log, if it ends first or `limit` passes.
    pub fn line(&mut self, limit: Duration) -> Result<String> {
        match self
            .lines
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(limit)
        {
            Ok(line) => Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!(
                    "{} printed nothing for {limit:?}\n{}",
                    self.name,
                    self.log_tail()
                )
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self
                    .child
                    .wait()
                    .with_context(|| format!("wait for {}", self.name))?;
                bail!("{} ended: {status}\n{}", self.name, self.log_tail())
            }
        }
    }

    /// Returns the end of the log, headed by its path.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        format!("end of {}:\n{tail}", self.log.display())
    }

    /// Returns whether the process is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns the process's exit status, or `None` if it has not ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills the process and its group with SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_group(Signal::SIGKILL);
        self.child
            .wait()
            .with_context(|| format!("wait for {}", self.name))?;
        Ok(())
    }

    /// Asks the process to end with SIGTERM, and waits. Kills it after 25 s, which is an error.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.stdin = None;
        self.signal(Signal::SIGTERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .with_context(|| format!("wait for {}", self.name))?
            {
                self.signal_group(Signal::SIGKILL); // what it may have left
                return Ok(status);
            }
            if start.elapsed() > GRACE {
                self.kill()?;
                bail!(
                    "{} had not ended {GRACE:?} after SIGTERM\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGINT to the process, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Waits until the process ends by itself. Kills it after `limit`, which is an error.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .with_context(|| format!("wait for {}", self.name))?
            {
                return Ok(status);
            }
            if start.elapsed() > limit {
                self.kill()?;
                bail!(
                    "{} had not ended after {limit:?}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Reads the process's usage so far from `/proc`. It must be running.
    pub fn usage(&self) -> Result<Usage> {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/{}/{file}", self.id()))
                .with_context(|| format!("read the usage of {}: is it running?", self.name))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        parse_usage(&stat, &status).with_context(|| format!("usage of {}", self.name))
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.id()) {
            // Fails only if it has ended.
            let _ = kill(Pid::from_raw(id), signal);
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.id()) {
            // Fails only if the whole group has ended.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.detached && self.is_running() && self.terminate().is_err() {
            // It was killed. A drop has nobody to report that to.
        }
    }
}

/// Wraps the command so that the kernel kills it when its parent ends, however that happens.
fn dying_with_parent(command: Command) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        let asked = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    });
    if !*SETPRIV {
        return command;
    }
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// Spawns from a thread that lives as long as this process. The kernel treats the end of the thread that started a child as the
/// end of its parent, and a test's thread ends with the test.
fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (send, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        send
    });
    let (send, answer) = mpsc::channel();
    SPAWNER
        .send((command, send))
        .map_err(|_| anyhow!("the spawning thread has ended"))?;
    Ok(answer.recv().context("the spawning thread has ended")??)
}

/// Parses the texts that `proc_pid_stat(5)` and `proc_pid_status(5)` describe.
fn parse_usage(stat: &str, status: &str) -> Result<Usage> {
    // The second field is the program's name in parentheses, and may itself contain spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(") ").context("no program name in stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let mut ticks = 0;
    for field in fields.get(11..15).context("too few fields in stat")? {
        ticks += field.parse::<u64>().context("a time in stat")?;
    }
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick rate")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .context("no VmHWM in status")?;
    Ok(Usage {
        cpu: Duration::from_millis(ticks * 1000 / u64::try_from(per_second)?),
        peak_memory: kib.trim().parse::<u64>().context("VmHWM")? * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a shell script, with its log in a folder.
    fn script(text: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        let process = Process::spawn("script", command, &dir.path().join("log")).unwrap();
        (dir, process)
    }

    #[test]
    fn usage_is_read_past_an_odd_program_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 10 5 20 0 9 0 1 1 1";
        let usage = parse_usage(stat, "Name:\ta\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n").unwrap();
        let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).unwrap().unwrap()).unwrap();
        assert_eq!(usage.cpu, Duration::from_millis(215_000 / per_second));
        assert_eq!(usage.peak_memory, 2 << 20);
    }

    #[test]
    fn the_log_is_in_the_error_of_a_process_that_ends_early() {
        let (_dir, mut process) = script("echo out; echo no such thing >&2; exit 3");
        assert_eq!(process.line(GRACE).unwrap(), "out");
        let error = process.line(GRACE).unwrap_err().to_string();
        assert!(
            error.starts_with("script ended: exit status: 3\n"),
            "{error}"
        );
        assert!(error.ends_with("/log:\nno such thing"), "{error}");
    }

    #[test]
    fn whoever_aborts_is_seen_to_have_ended_so() {
        use std::os::unix::process::ExitStatusExt as _;
        let (_dir, mut process) = script("read line; ulimit -c 0; kill -ABRT $$");
        assert_eq!(process.ended(), None);
        // The input that it reads from ends.
        process.stdin = None;
        let status = process.wait(GRACE).unwrap();
        assert_eq!(status.signal(), Some(6));
        assert_eq!(process.ended(), Some(status));
    }

    #[test]
    fn dropping_ends_the_whole_group() {
        let (_dir, mut process) = script("sleep 600 & echo $!; wait");
        let sleeper: i32 = process.line(GRACE).unwrap().parse().unwrap();
        drop(process);
        crate::until("the sleeper is gone", GRACE, || {
            // A zombie keeps its id until init has waited for it.
            let state = fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            Ok(if state.is_empty() || state.contains(") Z ") {
                Ok(())
            } else {
                Err(state)
            })
        })
        .unwrap();
    }
}
