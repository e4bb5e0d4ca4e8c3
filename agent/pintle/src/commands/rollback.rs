//! `pintle rollback`: go back to an earlier revision.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use pintle_cluster::Application;
use pintle_core::{
    application::{ApplicationStatus, Source},
    history::{Ending, HistoryEntry, find},
    names::ROLLBACK_REQUEST_ANNOTATION,
    request::PersonRequest,
    revision::short,
    rollback::earlier,
};

use super::act::{Subject, Waiter, is_working, refuse_if_suspended};
use crate::cli::{args::RollbackCommand, exit::Exit, output};

pub(super) async fn run(args: &RollbackCommand) -> anyhow::Result<Exit> {
    let subject = Subject::find(&args.application).await?;
    refuse_if_suspended(&subject.application)?;
    let name = subject.application.application_name();
    let status = subject.application.status.as_ref().map_err(Clone::clone)?;
    let spec = subject.application.spec.as_ref().ok();
    let origin = spec
        .and_then(|spec| spec.source.as_ref())
        .map(Source::origin);
    let wanted = if let Some(to) = &args.to {
        find(&status.history, to)?
    } else {
        let (rollback, begun) = (status.rollback.as_ref(), status.begun());
        earlier(&status.history, rollback, begun, origin).with_context(|| {
            format!(
                "no earlier revision of {name} from its source was healthy and renders something else, as far as its history goes back"
            )
        })?
    };
    warn(wanted);
    let mut request = subject.request(&args.reason).await?;
    request.to = Some(wanted.revision.clone());
    output::note(&format!(
        "{name} goes back to {}: {}",
        short(&wanted.revision),
        wanted.summary
    ));
    let annotations = BTreeMap::from([(ROLLBACK_REQUEST_ANNOTATION, Some(request.write()))]);
    let applications = &subject.applications;
    applications
        .ask(&subject.application, &annotations, None)
        .await
        .context("a rollback cannot be asked for")?;
    let waiter = Waiter {
        ours: request.id.clone(),
        before: newest(&subject.application).map(|newest| newest.id),
    };
    let is_done = |application: &Application| {
        let Ok(status) = &application.status else {
            return false;
        };
        let handled = status.last_handled_rollback.as_deref();
        let newest = newest(application).map(|newest| newest.id);
        // For a request that was refused, or is no longer ours, work in progress says nothing.
        let is_settled = status.rollback_refused.is_some() || handled != Some(request.id.as_str());
        waiter.is_answered(handled, newest.as_deref()) && (is_settled || !is_working(application))
    };
    if args.wait.no_wait {
        return subject.tell_request(args.output, &request);
    }
    let ended = subject.wait(&args.wait, args.output, is_done).await?;
    let status = ended.status.as_ref().map_err(Clone::clone)?;
    let to = short(&wanted.revision);
    if status.last_handled_rollback.as_ref() != Some(&request.id) {
        let newest = newest(&ended).map(|newest| newest.told());
        let who = newest.unwrap_or_else(|| "by somebody".to_owned());
        bail!("the rollback of {name} to {to} was superseded by another request, {who}");
    }
    if let Some(why) = &status.rollback_refused {
        bail!("the rollback of {name} to {to} was refused: {why}");
    }
    if !runs(status, &wanted.revision) {
        let ready = super::status::view::ready(status).1;
        bail!("{name} is not running {to}: {ready}")
    }
    output::note(&format!("{name} runs {to}"));
    Ok(Exit::Done)
}

/// Returns whether a revision is what was last worked on, and is complete and healthy. It need not be Ready, because it is not
/// what its source says. A revision that a suspension has cut short has nothing wrong with it, but does not run.
fn runs(status: &ApplicationStatus, revision: &str) -> bool {
    let newest = status.history.first();
    newest.is_some_and(|one| one.revision == revision && one.ending == Ending::Healthy)
}

/// Returns the newest request for a rollback of an application.
fn newest(application: &Application) -> Option<PersonRequest> {
    PersonRequest::read(application.annotations.get(ROLLBACK_REQUEST_ANNOTATION)?)
}

fn warn(wanted: &HistoryEntry) {
    if wanted.healthy_since.is_none() {
        output::warning(&format!("{} was never healthy", short(&wanted.revision)));
    }
}

#[cfg(test)]
mod tests {
    use pintle_core::history::{Trigger, record};

    use super::*;
    use crate::commands::history::tests::attempt;

    #[test]
    fn what_is_cut_short_does_not_run() {
        let after = |ending| {
            let mut status = ApplicationStatus::default();
            let attempt = attempt("a", Trigger::Rollback, ending);
            record(&mut status.history, attempt, "t");
            status
        };
        assert!(runs(&after(Ending::Healthy), "a"));
        assert!(!runs(&after(Ending::Healthy), "b"));
        assert!(!runs(&after(Ending::Underway), "a"));
        assert!(!runs(&ApplicationStatus::default(), "a"));
    }
}
