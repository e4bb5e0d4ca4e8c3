//! Helm as a long-lived process that answers questions.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_programs::{Program, to_stderr};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::generate::{self, Case};

/// A question.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub enum Request {
    /// Lists the available functions.
    Functions,
    /// Renders a template.
    Expr(Expression),
    /// Describes the keys and certificates that Go reads in a text.
    Keys(Expression),
    /// Renders a chart into a release.
    Template(Box<Templating>),
    /// Runs the command `helm` and returns its output.
    Helm {
        /// The command's arguments, which must include `--namespace`.
        args: Vec<String>,
    },
}

/// The text of the only template of a chart.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Expression {
    /// The template's text.
    pub text: String,
    /// The chart's values.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// The text of `templates/_helpers.tpl`, empty if there is none.
    pub helpers: String,
}

impl Expression {
    /// Returns the question that a generated case asks.
    pub fn of(case: &Case) -> Self {
        Self {
            text: case.text.clone(),
            input: generate::input(),
            helpers: generate::HELPERS.to_owned(),
        }
    }
}

/// A chart on disk and the flags of `helm template`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command"
)]
pub struct Templating {
    /// The chart, as a folder or an archive.
    pub chart: PathBuf,
    /// The release's name.
    pub release: String,
    /// The release's namespace.
    pub namespace: String,
    /// The values files.
    pub values: Vec<PathBuf>,
    /// `--set`
    pub set: Vec<String>,
    /// `--set-string`
    pub set_string: Vec<String>,
    /// `--set-json`
    pub set_json: Vec<String>,
    /// `--set-file`
    pub set_file: Vec<String>,
    /// `--set-literal`
    pub set_literal: Vec<String>,
    /// `--kube-version`, Helm's default if empty.
    pub kube_version: String,
    /// `--api-versions`
    pub api_versions: Vec<String>,
    /// `--include-crds`
    pub include_crds: bool,
    /// `--is-upgrade`
    pub is_upgrade: bool,
    /// `--skip-schema-validation`
    pub skip_schema: bool,
    /// `--render-subchart-notes`
    pub sub_notes: bool,
}

/// An answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The output, if it is UTF-8.
    output: String,
    /// The output in base64, if it is not UTF-8.
    bytes: Option<String>,
    /// Why Helm refused. Empty if it did not.
    error: String,
    /// The manifests of the release, as Helm stores them.
    pub manifest: String,
    /// The hooks of the release, in Helm's order.
    pub hooks: Vec<Hook>,
    /// The objects that Kubernetes reads from the manifests.
    pub objects: Vec<Value>,
    /// The rendered notes.
    pub notes: String,
    /// All functions.
    pub functions: Vec<Function>,
}

/// A hook of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hook {
    /// `metadata.name`
    pub name: String,
    /// `kind`
    pub kind: String,
    /// The path of the template.
    pub path: String,
    /// The text of the object.
    pub manifest: String,
    /// The events at which it runs.
    pub events: Vec<String>,
    /// Its weight.
    pub weight: i64,
    /// When it is deleted.
    pub delete_policies: Vec<String>,
    /// When its logs are shown.
    pub output_log: Vec<String>,
}

/// A name that templates can call.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Function {
    /// The function's name.
    pub name: String,
    /// The Go types of the parameters. A variadic parameter is the last one, and is given as its element type.
    #[serde(rename = "in")]
    pub params: Option<Vec<String>>,
    /// Whether the last parameter accepts any number of arguments.
    pub variadic: bool,
    /// Whether it is `break` or `continue`.
    #[serde(default)]
    pub keyword: bool,
    /// Whether text/template defines it rather than Helm.
    #[serde(default)]
    pub builtin: bool,
}

impl Answer {
    /// Returns the output, or why Helm refused.
    ///
    /// # Panics
    ///
    /// If the oracle's bytes are not base64, which is a bug in it.
    pub fn result(&self) -> Result<Vec<u8>, String> {
        if !self.error.is_empty() {
            return Err(self.error.clone());
        }
        Ok(match &self.bytes {
            Some(bytes) => STANDARD
                .decode(bytes)
                .expect("the oracle encodes bytes in base64"),
            None => self.output.clone().into_bytes(),
        })
    }

    /// Returns why Helm refused.
    pub fn error(&self) -> Option<&str> {
        Some(self.error.as_str()).filter(|error| !error.is_empty())
    }
}

/// The oracle's process.
#[derive(Debug)]
pub struct Oracle {
    program: PathBuf,
    running: Running,
}

#[derive(Debug)]
struct Running {
    child: Child,
    questions: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    /// Builds the program if needed (the first time, this takes some minutes) and starts it.
    pub fn start() -> Result<Self> {
        let program = Program::Helm.build(&to_stderr)?;
        let running = Running::start(&program)?;
        Ok(Self { program, running })
    }

    /// Asks all questions and returns the answers in the same order.
    ///
    /// A question that ends the process is answered with an error that says so. The next process answers the others.
    pub fn ask(&mut self, requests: &[Request]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(requests.len());
        while answers.len() < requests.len() {
            let left = &requests[answers.len()..];
            self.running.ask(left, &mut answers)?;
            if answers.len() < requests.len() {
                self.running.end();
                answers.push(Answer {
                    error: "panic: this ends Helm's process".to_owned(),
                    ..Answer::default()
                });
                self.running = Running::start(&self.program)?;
            }
        }
        Ok(answers)
    }

    /// Asks one question.
    pub fn ask_one(&mut self, request: Request) -> Result<Answer> {
        let mut answers = self.ask(&[request])?;
        ensure!(
            answers.len() == 1,
            "the oracle gave {} answers",
            answers.len()
        );
        Ok(answers.swap_remove(0))
    }

    /// Returns all names that templates can call, sorted.
    pub fn functions(&mut self) -> Result<Vec<Function>> {
        Ok(self.ask_one(Request::Functions)?.functions)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.running.end();
    }
}

impl Running {
    /// Starts the program without the settings and plugins of the user who runs the tests.
    fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .env("TZ", "UTC")
            .env("HELM_PLUGINS", "/nonexistent")
            .env("HELM_REPOSITORY_CONFIG", "/nonexistent")
            .env("KUBECONFIG", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let questions = child.stdin.take().context("standard input is a pipe")?;
        let answers = child.stdout.take().context("standard output is a pipe")?;
        Ok(Self {
            child,
            questions: BufWriter::new(questions),
            answers: BufReader::new(answers),
        })
    }

    /// Appends answers until all are there or the process ends.
    fn ask(&mut self, requests: &[Request], answers: &mut Vec<Answer>) -> Result<()> {
        let (questions, lines) = (&mut self.questions, &mut self.answers);
        std::thread::scope(|scope| {
            // Both pipes have little room: writing everything before reading anything would block forever.
            scope.spawn(|| {
                for request in requests {
                    let written = serde_json::to_writer(&mut *questions, request)
                        .map_err(std::io::Error::from)
                        .and_then(|()| questions.write_all(b"\n"));
                    if written.is_err() {
                        return; // the process ended, which the reader notices
                    }
                }
                let _ = questions.flush();
            });
            let mut line = String::new();
            for _ in requests {
                line.clear();
                if lines.read_line(&mut line).context("read an answer")? == 0 {
                    return Ok(());
                }
                let answer = serde_json::from_str(&line)
                    .with_context(|| format!("understand the answer {line:?}"))?;
                answers.push(answer);
            }
            Ok(())
        })
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
