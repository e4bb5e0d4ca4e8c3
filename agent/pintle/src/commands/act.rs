//! `pintle suspend`, `resume` and `reconcile`: an operator's requests to an application, with who asked and why.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use pintle_cluster::{Application, Applications, Connection};
use pintle_core::{
    application::{Condition, ConditionStatus},
    names::{RECONCILE_ANNOTATION, RECONCILE_REQUEST_ANNOTATION, SUSPEND_REQUEST_ANNOTATION},
    request::PersonRequest,
};
use serde_json::json;

use super::{
    get::{absent, application_document, explain},
    status::{Live, view},
    target::connect,
    test::request,
};
use crate::{
    cli::{
        args::{
            AwaitArgs, Format, OneApplication, OutputArgs, ReasonArgs, ReconcileCommand,
            SuspendCommand,
        },
        exit::{Exit, Usage},
        output,
    },
    pipeline::now_text,
};

/// One Application, and the connection to it.
pub(super) struct Subject {
    pub(super) connection: Connection,
    pub(super) applications: Applications,
    pub(super) application: Application,
}

impl Subject {
    pub(super) async fn find(args: &OneApplication) -> anyhow::Result<Self> {
        let connection = connect(&args.connection).await?;
        let default = || connection.default_namespace().to_owned();
        let namespace = args.namespace.clone().unwrap_or_else(default);
        let applications = Applications::applications(&connection);
        let found = applications.get(Some(&namespace), &args.name).await;
        let Some(application) = found.map_err(explain)? else {
            return Err(absent(&applications, &namespace, &args.name).await);
        };
        Ok(Self {
            connection,
            applications,
            application,
        })
    }

    /// Creates a request with who asks, when and why.
    pub(super) async fn request(&self, reason: &ReasonArgs) -> anyhow::Result<PersonRequest> {
        let by = match self.connection.user_name().await {
            Ok(name) => name,
            // Servers before 1.28 do not say who.
            Err(error) if error.is_not_found() => "an unnamed user".to_owned(),
            Err(error) => return Err(error.into()),
        };
        Ok(PersonRequest {
            id: request()?,
            by,
            at: now_text(),
            reason: reason.reason.clone(),
            to: None,
        })
    }

    /// Reports a request whose result is not waited for.
    pub(super) fn tell_request(
        &self,
        output: OutputArgs,
        request: &PersonRequest,
    ) -> anyhow::Result<Exit> {
        let name = self.application.application_name();
        match output.output {
            Some(format) => {
                let document = json!({ "application": name, "request": request });
                output::machine(format, &document)?;
            }
            None => output::note(&format!("{name}: asked for")),
        }
        Ok(Exit::Done)
    }

    /// Waits until the agent has done what was asked, shows the progress, and prints the result for programs.
    pub(super) async fn wait(
        &self,
        wait: &AwaitArgs,
        output: OutputArgs,
        is_done: impl Fn(&Application) -> bool,
    ) -> anyhow::Result<Application> {
        let name = self.application.application_name();
        let mut live = Live::of(output.output, &name.namespace, &name.name);
        let waiting = live.until(&self.applications, is_done);
        let ended = tokio::time::timeout(wait.timeout.get(), waiting).await;
        let Ok(ended) = ended else {
            let why = overdue(&self.application, live.last());
            bail!("{name} was not done within {}: {why}", wait.timeout);
        };
        let ended = ended.map_err(|error| {
            if error.is::<Unwatched>() {
                error.context(format!("{name}: it was asked for"))
            } else {
                error
            }
        })?;
        live.close();
        // In the line format, each state was printed as it came, and this one was the last.
        if let Some(format @ (Format::Json | Format::Yaml)) = output.output {
            output::machine(format, &application_document(&ended))?;
        }
        Ok(ended)
    }
}

/// Applications cannot be followed, and a retry changes nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "applications cannot be followed: {refusal}; you need `list` and `watch` on applications for that"
)]
pub(super) struct Unwatched {
    /// The API server's answer.
    pub(super) refusal: String,
}

/// Waits for a request that was made by an annotation.
pub(super) struct Waiter {
    /// The value that was written into the annotation.
    pub(super) ours: String,
    /// The value before that, which a watch may begin with.
    pub(super) before: Option<String>,
}

impl Waiter {
    /// Returns whether a request was handled that is not older than ours: the agent answers only the newest one. `newest` is the
    /// current value of the annotation.
    pub(super) fn is_answered(&self, handled: Option<&str>, newest: Option<&str>) -> bool {
        let is_newer = newest.is_some() && newest != self.before.as_deref();
        handled == Some(self.ours.as_str()) || (is_newer && handled == newest)
    }
}

/// Describes the state of an application that was not done in time, and where to look if nobody works on it.
pub(super) fn overdue(before: &Application, last: Option<&Application>) -> String {
    let last = last.unwrap_or(before);
    let how = match &last.status {
        Ok(status) => {
            let (ready, message) = view::ready(status);
            format!("`Ready` is {ready}: {message}")
        }
        Err(error) => error.to_string(),
    };
    if last.status != before.status {
        return how;
    }
    let namespace = before.namespace.as_deref().unwrap_or_default();
    format!("{how} (its status is as it was: does an agent watch namespace {namespace}?)")
}

pub(super) async fn suspend(args: &SuspendCommand) -> anyhow::Result<Exit> {
    let subject = Subject::find(&args.application).await?;
    let name = subject.application.application_name();
    if is_suspended(&subject.application) {
        let who = suspended_by(&subject.application);
        let who = who.map_or_else(String::new, |request| format!(" {}", request.told()));
        output::note(&format!("{name} is suspended already{who}"));
        return Ok(Exit::Done);
    }
    let request = subject.request(&args.reason).await?;
    let annotations = BTreeMap::from([(SUSPEND_REQUEST_ANNOTATION, Some(request.write()))]);
    let spec = json!({ "suspend": true });
    let applications = &subject.applications;
    applications
        .ask(&subject.application, &annotations, Some(&spec))
        .await
        .context("it cannot be suspended")?;
    output::note(&format!(
        "{name} is suspended: what is under way comes to a safe point, and nothing is changed until it is resumed"
    ));
    Ok(Exit::Done)
}

pub(super) async fn resume(args: &OneApplication) -> anyhow::Result<Exit> {
    let subject = Subject::find(args).await?;
    let name = subject.application.application_name();
    if !is_suspended(&subject.application) {
        output::note(&format!("{name} is not suspended"));
        return Ok(Exit::Done);
    }
    let who = suspended_by(&subject.application);
    let annotations = BTreeMap::from([(SUSPEND_REQUEST_ANNOTATION, None)]);
    // Absent is the default. `false` would remain as a field that nobody asked for.
    let spec = json!({ "suspend": null });
    let applications = &subject.applications;
    applications
        .ask(&subject.application, &annotations, Some(&spec))
        .await
        .context("it cannot be resumed")?;
    let who = who.map_or_else(String::new, |request| {
        format!("; it had been suspended {}", request.told())
    });
    output::note(&format!("{name} is resumed{who}"));
    Ok(Exit::Done)
}

pub(super) async fn reconcile(args: &ReconcileCommand) -> anyhow::Result<Exit> {
    let subject = Subject::find(&args.application).await?;
    refuse_if_suspended(&subject.application)?;
    let request = subject.request(&args.reason).await?;
    let annotations = BTreeMap::from([
        (RECONCILE_ANNOTATION, Some(request.id.clone())),
        (RECONCILE_REQUEST_ANNOTATION, Some(request.write())),
    ]);
    let applications = &subject.applications;
    applications
        .ask(&subject.application, &annotations, None)
        .await
        .context("a reconciliation cannot be asked for")?;
    let newest = |application: &Application| {
        let value = application.annotations.get(RECONCILE_ANNOTATION);
        value.cloned()
    };
    let waiter = Waiter {
        ours: request.id.clone(),
        before: newest(&subject.application),
    };
    let is_done = |application: &Application| {
        let status = application.status.as_ref().ok();
        let handled = status.and_then(|status| status.last_handled_reconcile.as_deref());
        waiter.is_answered(handled, newest(application).as_deref()) && !is_working(application)
    };
    if args.wait.no_wait {
        return subject.tell_request(args.output, &request);
    }
    let ended = subject.wait(&args.wait, args.output, is_done).await?;
    let name = subject.application.application_name();
    match ready_of(&ended) {
        Some(ready) if ready.status == ConditionStatus::True => {
            output::note(&format!("{name}: {}", ready.message));
            Ok(Exit::Done)
        }
        Some(ready) => bail!("{name} is not Ready: {}", ready.message),
        None => bail!("{name} has no condition `Ready`"),
    }
}

/// Refuses a request that would not be carried out while the application is suspended.
pub(super) fn refuse_if_suspended(application: &Application) -> anyhow::Result<()> {
    if !is_suspended(application) {
        return Ok(());
    }
    let name = application.application_name();
    let who = suspended_by(application);
    let who = who.map_or_else(String::new, |request| format!(" {}", request.told()));
    Err(Usage(format!(
        "{name} is suspended{who}; `pintle resume {} --namespace {}` comes first",
        name.name, name.namespace
    ))
    .into())
}

pub(super) fn is_suspended(application: &Application) -> bool {
    matches!(&application.spec, Ok(spec) if spec.suspend)
}

/// Returns who suspended an application with `pintle suspend`.
pub(in crate::commands) fn suspended_by(application: &Application) -> Option<PersonRequest> {
    let text = application.annotations.get(SUSPEND_REQUEST_ANNOTATION)?;
    PersonRequest::read(text)
}

fn ready_of(application: &Application) -> Option<&Condition> {
    Condition::ready(&application.status.as_ref().ok()?.conditions)
}

/// Returns whether an application is progressing, according to its status.
pub(super) fn is_working(application: &Application) -> bool {
    ready_of(application).is_none_or(|ready| ready.status == ConditionStatus::Unknown)
}

#[cfg(test)]
mod tests {
    use pintle_core::application::{ApplicationStatus, Standing};

    use super::*;

    #[test]
    fn a_newer_request_answers_an_older_one_and_a_state_of_before_does_not() {
        let waiter = |before: Option<&str>| Waiter {
            ours: "2".to_owned(),
            before: before.map(ToOwned::to_owned),
        };
        for (handled, newest, is_answered) in [
            (Some("1"), Some("2"), false),
            (Some("2"), Some("2"), true),
            (Some("2"), Some("3"), true),
            (Some("3"), Some("3"), true),
            // The watch has not reached ours yet.
            (Some("1"), Some("1"), false),
            (None, None, false),
        ] {
            let found = waiter(Some("1")).is_answered(handled, newest);
            assert_eq!(found, is_answered, "{handled:?} {newest:?}");
        }
        assert!(!waiter(None).is_answered(None, None));
    }

    fn application(standing: Option<Standing>) -> Application {
        let ready = |standing| Condition::of(standing, "Reason", "a message", None, "t", &[]);
        let status = ApplicationStatus {
            conditions: standing.map(ready).unwrap_or_default(),
            ..ApplicationStatus::default()
        };
        let metadata = json!({"namespace": "shop", "name": "web", "generation": 1});
        Application {
            status: Ok(status),
            ..Application::read(json!({"metadata": metadata}))
        }
    }

    #[test]
    fn what_is_overdue_says_how_it_is_and_asks_for_an_agent_only_where_nothing_happens() {
        let (ready, retrying) = (
            application(Some(Standing::Ready)),
            application(Some(Standing::Retrying)),
        );
        insta::assert_snapshot!(overdue(&ready, Some(&retrying)), @"`Ready` is False: a message");
        insta::assert_snapshot!(overdue(&ready, Some(&ready)), @"`Ready` is True: a message (its status is as it was: does an agent watch namespace shop?)");
        insta::assert_snapshot!(overdue(&application(None), None), @"`Ready` is Unknown: not looked at yet: is the agent running? (its status is as it was: does an agent watch namespace shop?)");
    }
}
