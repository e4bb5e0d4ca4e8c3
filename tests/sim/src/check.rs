//! What must hold once nothing is left to do.

use crate::catalog::{Catalog, Content, OBJECTS};
use crate::run::Wanted;
use crate::server::{Broken, Server};

/// Compares the cluster with the newest revision.
pub(crate) fn settled(
    catalog: &Catalog,
    server: &Server,
    revisions: &[Vec<Wanted>],
) -> Result<(), Broken> {
    let newest = revisions.last().into_iter().flatten();
    for (application, wanted) in newest.enumerate() {
        let resource = server.resources[application].as_ref();
        if resource.is_some_and(|resource| resource.deleting) {
            return Err(Broken(format!("the removal of {application} never ends")));
        }
        if resource.is_some_and(|resource| resource.suspended) {
            continue;
        }
        for slot in application * OBJECTS..(application + 1) * OBJECTS {
            let version = wanted.iter().find(|(wanted, _)| *wanted == slot);
            let live = server.objects[slot];
            let id = catalog.id(slot);
            match (resource, version, live) {
                (Some(resource), Some((_, version)), live) => {
                    let is = live.map(|live| live.content);
                    if is != Some(Content::Version(*version)) {
                        return Err(Broken(format!("{id} is {is:?}, and git has {version}")));
                    }
                    if resource.inventory.get(id).is_none() {
                        return Err(Broken(format!("{id} is not in the inventory")));
                    }
                }
                (_, _, Some(live)) if live.labelled && !Catalog::is_protected(slot) => {
                    return Err(Broken(format!("{id} is there, and nobody has it")));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
