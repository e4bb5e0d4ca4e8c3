//! `pintle status`: the state of applications, once or live.

pub(super) mod view;

use std::collections::BTreeMap;

use anyhow::bail;
use futures::StreamExt as _;
use pintle_cluster::{Application, Applications, Connection, ResourceEvent};
use pintle_core::names::ApplicationName;
use serde_json::json;

use self::view::{object_lines, one, overview};
use super::{
    act::Unwatched,
    get::{absent, application_document, explain},
    interrupt::end_on_interrupt,
    target::connect,
};
use crate::cli::{
    args::{Format, StatusCommand},
    exit::{Exit, Usage},
    output,
    screen::{Screen, size},
};

pub(super) async fn run(args: &StatusCommand) -> anyhow::Result<Exit> {
    if args.watch
        && let Some(Format::Json | Format::Yaml) = args.output.output
    {
        let why = "--watch has no end, and so no one document: -o jsonl prints one for each change";
        return Err(Usage(why.to_owned()).into());
    }
    let connection = connect(&args.connection).await?;
    let applications = Applications::applications(&connection);
    let scope = Scope::of(args, &connection);
    let found = scope.read(&applications).await?;
    if args.watch {
        return Live::new(args, scope).watch(&applications).await;
    }
    match (args.output.output, &scope.name) {
        (Some(format), Some(_)) => {
            for application in found.values() {
                output::machine(format, &application_document(application))?;
            }
        }
        (Some(format), None) => {
            let all: Vec<_> = found.values().map(application_document).collect();
            output::machine(format, &all)?;
        }
        (None, _) => {
            let lines = scope.lines(&found, usize::MAX);
            output::text(&lines.join("\n"));
        }
    }
    Ok(Exit::Done)
}

/// The applications that are shown, by namespace and name.
type Found = BTreeMap<(String, String), Application>;

/// Selects the applications that are shown.
pub(super) struct Scope {
    namespace: Option<String>,
    name: Option<String>,
}

impl Scope {
    fn of(args: &StatusCommand, connection: &Connection) -> Self {
        let default = || connection.default_namespace().to_owned();
        let namespace = match (&args.namespace, &args.name) {
            (Some(namespace), _) => Some(namespace.clone()),
            (None, Some(_)) => Some(default()),
            (None, None) => None,
        };
        Self {
            namespace,
            name: args.name.clone(),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    async fn read(&self, applications: &Applications) -> anyhow::Result<Found> {
        let namespace = self.namespace.as_deref();
        let Some(name) = &self.name else {
            let all = applications.list(namespace).await.map_err(explain)?;
            return Ok(all.into_iter().map(|one| (key(&one), one)).collect());
        };
        let found = applications.get(namespace, name).await.map_err(explain)?;
        let Some(found) = found else {
            let namespace = namespace.unwrap_or_default();
            return Err(absent(applications, namespace, name).await);
        };
        Ok([(key(&found), found)].into())
    }

    /// Draws what was found in at most `height` lines.
    fn lines(&self, found: &Found, height: usize) -> Vec<String> {
        match (&self.name, found.values().next()) {
            (Some(_), Some(application)) => one(application, height),
            (Some(name), None) => vec![format!("{name} is gone")],
            (None, None) => vec!["there is no Application".to_owned()],
            (None, Some(_)) => overview(found.values(), height),
        }
    }
}

fn key(application: &Application) -> (String, String) {
    let namespace = application.namespace.clone().unwrap_or_default();
    (namespace, application.name.clone())
}

/// A live view.
pub(super) struct Live {
    scope: Scope,
    found: Found,
    format: Option<Format>,
    screen: Option<Screen>,
    /// The last text about each item, where there is no terminal.
    said: BTreeMap<String, String>,
    /// Whether everything that exists has been seen.
    is_complete: bool,
    /// Why the watch does not work at the moment.
    failure: Option<String>,
}

impl Live {
    fn new(args: &StatusCommand, scope: Scope) -> Self {
        Self::with(args.output.output, scope)
    }

    fn with(format: Option<Format>, scope: Scope) -> Self {
        let screen = format.is_none().then(Screen::open).flatten();
        Self {
            scope,
            found: Found::new(),
            format,
            screen,
            said: BTreeMap::new(),
            is_complete: false,
            failure: None,
        }
    }

    /// Follows one application for a command that waits for it.
    pub(super) fn of(format: Option<Format>, namespace: &str, name: &str) -> Self {
        let scope = Scope {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        };
        Self::with(format, scope)
    }

    async fn watch(mut self, applications: &Applications) -> anyhow::Result<Exit> {
        let interrupted = end_on_interrupt();
        tokio::select! {
            ended = self.until(applications, |_| output::is_lost()) => { ended?; }
            () = interrupted.cancelled() => self.close(),
        }
        Ok(Exit::Done)
    }

    /// Shows the state of the applications until one of them is in the wanted state, and returns that one.
    pub(super) async fn until(
        &mut self,
        applications: &Applications,
        is_wanted: impl Fn(&Application) -> bool,
    ) -> anyhow::Result<Application> {
        let mut events = Box::pin(applications.watch(self.scope.namespace.as_deref()));
        while let Some(event) = events.next().await {
            match event {
                ResourceEvent::Seen(application) if self.scope.contains(&application.name) => {
                    self.tell(&application)?;
                    let is_wanted = is_wanted(&application);
                    self.found.insert(key(&application), *application.clone());
                    if self.is_complete || self.scope.name.is_some() {
                        self.draw();
                    }
                    if is_wanted {
                        return Ok(*application);
                    }
                }
                ResourceEvent::Gone { namespace, name } if self.scope.contains(&name) => {
                    let gone = ApplicationName::new(namespace.unwrap_or_default(), name.clone());
                    self.tell_gone(&gone)?;
                    self.found.remove(&(gone.namespace, gone.name));
                    self.draw();
                    if self.scope.name.is_some() {
                        bail!("{name} was deleted");
                    }
                }
                ResourceEvent::Complete => {
                    self.is_complete = true;
                    self.tell_works();
                }
                ResourceEvent::Resumed => self.tell_works(),
                ResourceEvent::Failed {
                    text: refusal,
                    is_refused: true,
                } => return Err(Unwatched { refusal }.into()),
                ResourceEvent::Failed { text, .. } => self.tell_failure(text),
                ResourceEvent::Seen(_) | ResourceEvent::Gone { .. } => {}
            }
        }
        bail!("the watch has ended")
    }

    /// Returns the application that is followed, as it was last seen. If there are several, returns the first.
    pub(super) fn last(&self) -> Option<&Application> {
        self.found.values().next()
    }

    /// Ends the part that changes in place, and leaves its last state.
    pub(super) fn close(&mut self) {
        if let Some(screen) = self.screen.take() {
            screen.close();
            // An application that was never looked at is not gone.
            if self.is_complete || !self.found.is_empty() {
                let lines = self.scope.lines(&self.found, size().0.max(60));
                output::text(&lines.join("\n"));
            }
        }
    }

    fn draw(&self) {
        if let Some(screen) = &self.screen {
            screen.heading("watching; end with Ctrl-C");
            let height = size().0.saturating_sub(3);
            screen.show(self.scope.lines(&self.found, height));
        }
    }

    /// Reports why the cluster gives no answer. Reported once where each try would add another line.
    fn tell_failure(&mut self, why: String) {
        let text = format!("waiting for the cluster: {why}");
        match &self.screen {
            Some(screen) => screen.heading(&text),
            None if self.failure.as_ref() != Some(&why) => output::note(&text),
            None => {}
        }
        self.failure = Some(why);
    }

    /// Reports that the cluster answers again, if its failure was reported.
    fn tell_works(&mut self) {
        if self.failure.take().is_some() && self.screen.is_none() {
            output::note("the cluster answers again");
        }
        self.draw();
    }

    /// Reports that an application is gone, where there is no terminal. An application that is created again under its name is
    /// another one.
    fn tell_gone(&mut self, application: &ApplicationName) -> anyhow::Result<()> {
        self.said.remove(&application.to_string());
        match self.format {
            Some(Format::Json | Format::Yaml) => {}
            Some(Format::Jsonl) => {
                let document = json!({
                    "namespace": application.namespace,
                    "name": application.name,
                    "gone": true,
                });
                output::machine(Format::Jsonl, &document)?;
            }
            None if self.screen.is_some() => {}
            None => output::text(&format!("{application} is gone")),
        }
        Ok(())
    }

    /// Reports what is new, where there is no terminal and somebody wants to know.
    fn tell(&mut self, application: &Application) -> anyhow::Result<()> {
        match self.format {
            // A caller who wants a single document gets it when it is there.
            Some(Format::Json | Format::Yaml) => {}
            Some(Format::Jsonl) => {
                let document = application_document(application);
                let name = application.application_name().to_string();
                if self.is_new(name, &document.to_string()) {
                    output::machine(Format::Jsonl, &document)?;
                }
            }
            None if self.screen.is_some() => {}
            None => {
                for (what, line) in object_lines(application, self.scope.name.is_some()) {
                    if self.is_new(what, &line) {
                        output::text(&line);
                    }
                }
            }
        }
        Ok(())
    }

    /// Records the text about an item, and returns whether it differs from the one before.
    fn is_new(&mut self, what: String, said: &str) -> bool {
        let before = self.said.insert(what, said.to_owned());
        before.as_deref() != Some(said)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}
