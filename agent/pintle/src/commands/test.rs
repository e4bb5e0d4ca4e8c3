//! `pintle test`: run an application's tests now, and print their results.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use owo_colors::OwoColorize as _;
use pintle_cluster::{Application, Applications, ResourceEvent};
use pintle_core::{
    application::{ApplicationStatus, Condition, TestResult},
    names::{ApplicationName, TEST_ANNOTATION},
};
use serde_json::json;

use super::{
    act::{Unwatched, Waiter, overdue, refuse_if_suspended},
    get::{absent, explain},
    target::connect,
};
use crate::cli::{args::TestCommand, exit::Exit, output, progress::Progress};

pub(super) async fn run(args: &TestCommand) -> anyhow::Result<Exit> {
    let connection = connect(&args.connection).await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| connection.default_namespace().to_owned());
    let name = ApplicationName::new(&namespace, &args.name);
    let applications = Applications::applications(&connection);
    let found = applications.get(Some(&namespace), &args.name).await;
    let Some(application) = found.map_err(explain)? else {
        let why = absent(&applications, &namespace, &args.name).await;
        bail!("{why}; what `pintle converge` applies is tested with `pintle converge --test`");
    };
    refuse_if_suspended(&application)?;
    let progress = Progress::new(args.output.output);
    let request = request()?;
    progress.stage(&format!("asking for the tests of {name}"));
    let annotations = BTreeMap::from([(TEST_ANNOTATION, Some(request.clone()))]);
    applications
        .ask(&application, &annotations, None)
        .await
        .context("the tests cannot be asked for")?;
    let waiter = Waiter {
        before: application.annotations.get(TEST_ANNOTATION).cloned(),
        ours: request,
    };
    let mut last = None;
    let waiting = handled(&applications, &name, &waiter, &progress, &mut last);
    let ended = tokio::time::timeout(args.timeout.get(), waiting).await;
    let Ok(status) = ended else {
        let why = overdue(&application, last.as_ref());
        bail!(
            "the tests of {name} were not run within {}: {why}",
            args.timeout
        );
    };
    let status = status?;
    progress.finish();
    report(args, &name, &status.tests)
}

/// Returns a new name for a request, unlike any before.
pub(super) fn request() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now: Duration = now.context("the clock is before 1970")?;
    Ok(now.as_nanos().to_string())
}

/// Waits until the agent has done what it was asked for. `last` is the application as it was last seen.
async fn handled(
    applications: &Applications,
    name: &ApplicationName,
    waiter: &Waiter,
    progress: &Progress,
    last: &mut Option<Application>,
) -> anyhow::Result<ApplicationStatus> {
    let mut events = Box::pin(applications.watch(Some(&name.namespace)));
    let mut said = String::new();
    let mut say = |text: String| {
        if text != said {
            progress.stage(&text);
            said = text;
        }
    };
    while let Some(event) = events.next().await {
        match event {
            ResourceEvent::Seen(application) if application.name == name.name => {
                let newest = application.annotations.get(TEST_ANNOTATION);
                if let Ok(status) = &application.status
                    && waiter.is_answered(
                        status.last_handled_test.as_deref(),
                        newest.map(String::as_str),
                    )
                {
                    return Ok(status.clone());
                }
                let now = standing(&application);
                *last = Some(*application);
                say(format!("waiting for the tests of {name}{now}"));
            }
            ResourceEvent::Gone { name: gone, .. } if gone == name.name => {
                bail!("{name} was deleted meanwhile")
            }
            ResourceEvent::Failed {
                text: refusal,
                is_refused: true,
            } => {
                let why = format!("the tests of {name} were asked for");
                return Err(anyhow::Error::new(Unwatched { refusal }).context(why));
            }
            ResourceEvent::Failed { text, .. } => {
                say(format!("waiting for the cluster: {text}"));
            }
            ResourceEvent::Resumed => {
                let now = last.as_ref().map(standing).unwrap_or_default();
                say(format!("waiting for the tests of {name}{now}"));
            }
            _ => {}
        }
    }
    bail!("the watch of {name} has ended")
}

/// Describes what keeps an application from being tested, as far as it is known.
fn standing(application: &Application) -> String {
    let Ok(status) = &application.status else {
        return String::new();
    };
    let ready = Condition::ready(&status.conditions);
    ready.map_or_else(String::new, |ready| format!(" ({})", ready.message))
}

fn report(
    args: &TestCommand,
    name: &ApplicationName,
    tests: &[TestResult],
) -> anyhow::Result<Exit> {
    let failed = tests.iter().filter(|test| !test.passed).count();
    if let Some(format) = args.output.output {
        output::machine(format, &json!({ "application": name, "tests": tests }))?;
    } else if tests.is_empty() {
        output::note(&format!("{name} has no tests"));
    } else {
        output::text(&lines(tests));
        output::note(&format!(
            "{name}: {} passed, {failed} failed",
            tests.len() - failed
        ));
    }
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Returns one line for each test, and why it failed.
fn lines(tests: &[TestResult]) -> String {
    let line = |test: &TestResult| match &test.message {
        _ if test.passed => format!("{} {}\n", "passed".green(), test.object),
        Some(why) => format!("{} {}: {why}\n", "failed".red(), test.object),
        None => format!("{} {}\n", "failed".red(), test.object),
    };
    tests.iter().map(line).collect()
}
