//! `pintle rollback`: go back to an earlier revision.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use pintle_cluster::Application;
use pintle_core::{
    history::{HistoryEntry, find, last_healthy},
    names::ROLLBACK_REQUEST_ANNOTATION,
    revision::short,
};

use super::act::Subject;
use crate::cli::{args::RollbackCommand, exit::Exit, output};

pub(super) async fn run(args: &RollbackCommand) -> anyhow::Result<Exit> {
    let subject = Subject::find(&args.application).await?;
    subject.refuse_if_suspended()?;
    let name = subject.application.application_name();
    let status = subject.application.status.as_ref().map_err(Clone::clone)?;
    let wanted = if let Some(to) = &args.to {
        find(&status.history, to)?
    } else {
        let current = [&status.revision, &status.attempted_revision];
        let current: Vec<&str> = current
            .into_iter()
            .filter_map(|one| one.as_deref())
            .collect();
        let Some(found) = last_healthy(&status.history, &current) else {
            bail!("no earlier revision of {name} was healthy, as far as its history goes back");
        };
        found
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
    let is_done = |application: &Application| {
        let status = application.status.as_ref().ok();
        let handled = status.and_then(|status| status.last_handled_rollback.as_deref());
        handled == Some(request.id.as_str())
    };
    let Some(ended) = subject.wait(&args.wait, args.output, is_done).await? else {
        return Ok(Exit::Done);
    };
    let status = ended.status.as_ref().map_err(Clone::clone)?;
    let newest = status.history.first();
    match newest {
        // It is not Ready, for it is not what its source says; but it is what was asked for.
        Some(newest) if newest.revision == wanted.revision && newest.message.is_none() => {
            output::note(&format!("{name} runs {}", short(&wanted.revision)));
            Ok(Exit::Done)
        }
        _ => {
            let ready = super::status::view::ready(status).1;
            bail!(
                "{name} did not come to run {}: {ready}",
                short(&wanted.revision)
            )
        }
    }
}

fn warn(wanted: &HistoryEntry) {
    if wanted.healthy_since.is_none() {
        output::warning(&format!("{} was never healthy", short(&wanted.revision)));
    }
}
