//! A model of the API server: what it holds, and what must be true of each write that it accepts.

use std::sync::Arc;

use pintle_core::inventory::Inventory;

use crate::catalog::{Catalog, Content, Slot};

/// An object, as the server holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) uid: u32,
    pub(crate) version: u32,
    pub(crate) content: Content,
    /// Whether it carries the application's label.
    pub(crate) labelled: bool,
}

/// An Application, as the server holds it.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) uid: u32,
    pub(crate) version: u32,
    pub(crate) generation: i64,
    pub(crate) suspended: bool,
    pub(crate) deleting: bool,
    pub(crate) inventory: Arc<Inventory>,
    /// The generation and the revision that its status reports as converged.
    pub(crate) converged: Option<(i64, u32)>,
}

/// A request of a run to the server.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Apply {
        slot: Slot,
        version: u8,
    },
    Delete {
        slot: Slot,
        uid: Option<u32>,
    },
    /// Replaces a status, which must not have changed.
    Status {
        before: Box<Resource>,
        inventory: Arc<Inventory>,
        converged: Option<(i64, u32)>,
    },
    DropFinalizer {
        version: u32,
    },
    /// Reads the current Application.
    Read,
}

impl Request {
    /// Returns a short form for the story.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Status {
                before,
                inventory,
                converged,
            } => format!(
                "status with {} entries, converged {converged:?}, over version {}",
                inventory.len(),
                before.version
            ),
            other => format!("{other:?}"),
        }
    }
}

impl Answer {
    /// Returns a short form for the story.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Written(resource) | Self::Found(Some(resource)) => {
                format!("version {}", resource.version)
            }
            other => format!("{other:?}"),
        }
    }
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Applied(Live),
    Deleted {
        version: u32,
    },
    Written(Resource),
    /// The Application, if it exists.
    Found(Option<Resource>),
    /// 409.
    Conflict,
    /// 404 for an object that was to be changed.
    Gone,
    /// 429, 500, 503, or no answer at all: the request may have been carried out or not.
    Failed,
}

/// A watch's notice of a change.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Object {
        slot: Slot,
        /// `None` if the object is gone, then with the version of its deletion.
        live: Option<Live>,
        version: u32,
    },
    Application {
        application: usize,
        resource: Option<Resource>,
    },
}

/// A violation: something happened that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) objects: Vec<Option<Live>>,
    pub(crate) resources: Vec<Option<Resource>>,
    version: u32,
    uids: u32,
    /// What git has ever said about each object, one bit per version.
    pub(crate) said: Vec<u8>,
    /// Whether some revision of git lacks the object.
    pub(crate) dropped: Vec<bool>,
    pub(crate) writes: u64,
}

impl Server {
    pub(crate) fn new(slots: usize, applications: usize) -> Self {
        Self {
            objects: vec![None; slots],
            resources: vec![None; applications],
            version: 0,
            uids: 0,
            said: vec![0; slots],
            dropped: vec![true; slots],
            writes: 0,
        }
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    fn next_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    fn next_uid(&mut self) -> u32 {
        self.uids += 1;
        self.uids
    }

    /// Carries out a request of a run, and checks what must be true of it.
    pub(crate) fn take(
        &mut self,
        catalog: &Catalog,
        application: usize,
        request: &Request,
    ) -> Result<(Answer, Option<Notice>), Broken> {
        match request {
            Request::Apply { slot, version } => self.apply(catalog, application, *slot, *version),
            Request::Delete { slot, uid } => self.delete(catalog, application, *slot, *uid),
            Request::Status {
                before,
                inventory,
                converged,
            } => self.status(catalog, application, before, inventory, *converged),
            Request::DropFinalizer { version } => self.finalize(catalog, application, *version),
            Request::Read => {
                let found = self.resources[application].clone();
                Ok((Answer::Found(found), None))
            }
        }
    }

    fn listed(&self, catalog: &Catalog, application: usize, slot: Slot) -> bool {
        self.resources[application]
            .as_ref()
            .is_some_and(|resource| resource.inventory.get(catalog.id(slot)).is_some())
    }

    /// Returns an object of an application that exists although nobody wants it.
    pub(crate) fn leftover(&self, application: usize, wanted: &[(Slot, u8)]) -> Option<Slot> {
        Catalog::slots_of(application).find(|slot| {
            let is_there = self.objects[*slot].is_some_and(|live| live.labelled);
            let is_wanted = wanted.iter().any(|(wanted, _)| wanted == slot);
            is_there && !is_wanted && !Catalog::is_protected(*slot)
        })
    }

    fn apply(
        &mut self,
        catalog: &Catalog,
        application: usize,
        slot: Slot,
        version: u8,
    ) -> Result<(Answer, Option<Notice>), Broken> {
        is_of(catalog, application, slot)?;
        if self.said[slot] & (1 << version) == 0 {
            return Err(Broken(format!(
                "{} is written as git never said",
                catalog.id(slot)
            )));
        }
        if self.objects[slot].is_none() && !self.listed(catalog, application, slot) {
            return Err(Broken(format!(
                "{} is made before the inventory lists it",
                catalog.id(slot)
            )));
        }
        self.writes += 1;
        let content = Content::Version(version);
        let same = self.objects[slot].filter(|live| live.content == content && live.labelled);
        if let Some(live) = same {
            // An apply that changes nothing creates no new version.
            return Ok((Answer::Applied(live), None));
        }
        let uid = match self.objects[slot] {
            Some(live) => live.uid,
            None => self.next_uid(),
        };
        Ok(self.set(slot, uid, content, true))
    }

    fn set(
        &mut self,
        slot: Slot,
        uid: u32,
        content: Content,
        labelled: bool,
    ) -> (Answer, Option<Notice>) {
        let version = self.next_version();
        let live = Live {
            uid,
            version,
            content,
            labelled,
        };
        self.objects[slot] = Some(live);
        let notice = Notice::Object {
            slot,
            live: Some(live),
            version,
        };
        (Answer::Applied(live), Some(notice))
    }

    fn delete(
        &mut self,
        catalog: &Catalog,
        application: usize,
        slot: Slot,
        uid: Option<u32>,
    ) -> Result<(Answer, Option<Notice>), Broken> {
        is_of(catalog, application, slot)?;
        let id = catalog.id(slot);
        let removing = self.resources[application]
            .as_ref()
            .is_none_or(|resource| resource.deleting);
        if !self.dropped[slot] && !removing {
            return Err(Broken(format!(
                "{id} is deleted, and git has always had it"
            )));
        }
        if Catalog::is_protected(slot) {
            return Err(Broken(format!(
                "{id} is deleted without having been allowed"
            )));
        }
        let Some(live) = self.objects[slot] else {
            return Ok((Answer::Gone, None));
        };
        if uid.is_some_and(|uid| uid != live.uid) {
            return Ok((Answer::Conflict, None));
        }
        if !self.listed(catalog, application, slot) {
            return Err(Broken(format!(
                "{id} is deleted, and the inventory does not list it"
            )));
        }
        self.writes += 1;
        Ok(self.lose(slot))
    }

    fn lose(&mut self, slot: Slot) -> (Answer, Option<Notice>) {
        let version = self.next_version();
        self.objects[slot] = None;
        let notice = Notice::Object {
            slot,
            live: None,
            version,
        };
        (Answer::Deleted { version }, Some(notice))
    }

    fn status(
        &mut self,
        catalog: &Catalog,
        application: usize,
        before: &Resource,
        inventory: &Arc<Inventory>,
        converged: Option<(i64, u32)>,
    ) -> Result<(Answer, Option<Notice>), Broken> {
        let found = self.resources[application].as_ref();
        let Some(resource) = found.filter(|found| found.uid == before.uid) else {
            return Ok((Answer::Gone, None));
        };
        // After a conflict the agent reads the current state. Its own write may have been carried out although the answer was
        // lost, or only the spec has changed. Anything else that it finds was written by somebody else.
        if resource.inventory == *inventory && resource.converged == converged {
            return Ok((Answer::Written(resource.clone()), None));
        }
        if resource.inventory != before.inventory || resource.converged != before.converged {
            return Ok((Answer::Conflict, None));
        }
        for entry in resource.inventory.entries() {
            let slot = catalog.slot(&entry.id());
            let lives = self.objects[slot].is_some_and(|live| live.labelled);
            if lives && !Catalog::is_protected(slot) && inventory.get(&entry.id()).is_none() {
                return Err(Broken(format!(
                    "{} exists, and the inventory forgets it",
                    entry.id()
                )));
            }
        }
        let inventory = Arc::clone(inventory);
        Ok(self.change(application, |resource| {
            resource.inventory = inventory;
            resource.converged = converged;
        }))
    }

    fn finalize(
        &mut self,
        catalog: &Catalog,
        application: usize,
        version: u32,
    ) -> Result<(Answer, Option<Notice>), Broken> {
        let Some(resource) = &self.resources[application] else {
            return Ok((Answer::Gone, None));
        };
        if resource.version != version {
            return Ok((Answer::Conflict, None));
        }
        if !resource.deleting {
            return Err(Broken(format!(
                "application {application} is let go, and nobody has deleted it"
            )));
        }
        // This includes objects that the inventory has forgotten.
        if let Some(slot) = self.leftover(application, &[]) {
            return Err(Broken(format!(
                "{} is left behind by a removal",
                catalog.id(slot)
            )));
        }
        let version = self.next_version();
        self.resources[application] = None;
        let notice = Notice::Application {
            application,
            resource: None,
        };
        Ok((Answer::Deleted { version }, Some(notice)))
    }

    fn change(
        &mut self,
        application: usize,
        change: impl FnOnce(&mut Resource),
    ) -> (Answer, Option<Notice>) {
        let version = self.next_version();
        let Some(resource) = &mut self.resources[application] else {
            return (Answer::Gone, None);
        };
        resource.version = version;
        change(resource);
        let resource = resource.clone();
        let notice = Notice::Application {
            application,
            resource: Some(resource.clone()),
        };
        (Answer::Written(resource), Some(notice))
    }

    /// Edits an object by hand. Nothing that people do is checked.
    pub(crate) fn edit(&mut self, slot: Slot) -> Option<Notice> {
        let live = self.objects[slot]?;
        self.set(slot, live.uid, Content::Edited, live.labelled).1
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Notice> {
        self.objects[slot]?;
        self.lose(slot).1
    }

    pub(crate) fn make(&mut self, application: usize) -> Option<Notice> {
        if self.resources[application].is_some() {
            return None;
        }
        let (version, uid) = (self.next_version(), self.next_uid());
        let resource = Resource {
            uid,
            version,
            generation: 1,
            suspended: false,
            deleting: false,
            inventory: Arc::default(),
            converged: None,
        };
        self.resources[application] = Some(resource.clone());
        Some(Notice::Application {
            application,
            resource: Some(resource),
        })
    }

    /// Changes a spec, and also `suspended` if it is given.
    pub(crate) fn respecify(
        &mut self,
        application: usize,
        suspended: Option<bool>,
    ) -> Option<Notice> {
        self.resources[application]
            .as_ref()
            .filter(|resource| !resource.deleting)?;
        self.change(application, |resource| {
            resource.generation += 1;
            resource.suspended = suspended.unwrap_or(resource.suspended);
        })
        .1
    }

    pub(crate) fn begin_removal(&mut self, application: usize) -> Option<Notice> {
        self.resources[application]
            .as_ref()
            .filter(|resource| !resource.deleting)?;
        self.change(application, |resource| {
            resource.generation += 1;
            resource.deleting = true;
        })
        .1
    }
}

fn is_of(catalog: &Catalog, application: usize, slot: Slot) -> Result<(), Broken> {
    if Catalog::application_of(slot) == application {
        return Ok(());
    }
    let id = catalog.id(slot);
    Err(Broken(format!("{id} is not of application {application}")))
}
