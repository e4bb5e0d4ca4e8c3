//! What must hold once there is nothing left to do.

use crate::catalog::{Catalog, Content, Slot};
use crate::run::{Wanted, is_recorded};
use crate::server::{Broken, Resource, Server};

/// Compares the cluster with the newest revision.
pub(crate) fn settled(
    catalog: &Catalog,
    server: &Server,
    revisions: &[Vec<Wanted>],
) -> Result<(), Broken> {
    let newest = revisions.last().into_iter().flatten();
    for (application, wanted) in newest.enumerate() {
        let Some(resource) = &server.resources[application] else {
            nothing_else(catalog, server, application, &[])?;
            continue;
        };
        if resource.deleting {
            return Err(Broken(format!("the removal of {application} never ends")));
        }
        if resource.suspended {
            continue;
        }
        let revision = u32::try_from(revisions.len() - 1).unwrap_or(u32::MAX);
        if resource.converged != Some((resource.generation, revision)) {
            return Err(Broken(format!(
                "{application} has generation {}, git has {revision}, and its status says {:?}",
                resource.generation, resource.converged
            )));
        }
        nothing_else(catalog, server, application, wanted)?;
        converged(catalog, server, resource, wanted)?;
    }
    Ok(())
}

/// Checks that what git does not have does not exist, unless it is protected.
fn nothing_else(
    catalog: &Catalog,
    server: &Server,
    application: usize,
    wanted: &[(Slot, u8)],
) -> Result<(), Broken> {
    if let Some(slot) = server.leftover(application, wanted) {
        let id = catalog.id(slot);
        return Err(Broken(format!("{id} is there, and nobody has it")));
    }
    Ok(())
}

/// Checks that everything in git exists, and that the inventory lists all of it and nothing else.
fn converged(
    catalog: &Catalog,
    server: &Server,
    resource: &Resource,
    wanted: &[(Slot, u8)],
) -> Result<(), Broken> {
    for (slot, version) in wanted {
        let (id, live) = (catalog.id(*slot), server.objects[*slot]);
        let Some(live) = live.filter(|live| live.content == Content::Version(*version)) else {
            let is = live.map(|live| live.content);
            return Err(Broken(format!("{id} is {is:?}, and git has {version}")));
        };
        if !is_recorded(catalog, &resource.inventory, (*slot, *version), live) {
            let entry = resource.inventory.get(id);
            return Err(Broken(format!("{id} is recorded as {entry:?}")));
        }
    }
    for entry in resource.inventory.entries() {
        let slot = catalog.slot(&entry.id());
        let is_wanted = wanted.iter().any(|(wanted, _)| *wanted == slot);
        if !is_wanted && !Catalog::is_protected(slot) {
            return Err(Broken(format!(
                "{} is in the inventory, and nobody has it",
                entry.id()
            )));
        }
    }
    Ok(())
}
