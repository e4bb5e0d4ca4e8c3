//! Secret seeds, kept in the cluster.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use pintle_core::{
    names::{ApplicationName, PINTLE_MANAGER},
    object::ObjectId,
    seed::Seed,
};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    discovery::ResourceType,
    objects::JSON,
    request::{Call, RequestError},
};

const KEY: &str = "seed";

/// Why there is no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// The server refused or did not answer.
    #[error("cannot get the seed from {id}")]
    Request {
        /// The Secret.
        id: ObjectId,
        /// The cause.
        #[source]
        error: Box<RequestError>,
    },
    /// Someone else created the Secret in the meantime, with another seed.
    #[error("another pintle made {id} meanwhile: try again")]
    Superseded {
        /// The Secret.
        id: ObjectId,
    },
    /// The Secret does not hold a seed.
    #[error(
        "{id} holds no seed: expected 32 bytes in the key `{KEY}`; if it is lost, delete the Secret, and what was derived from it changes"
    )]
    Malformed {
        /// The Secret.
        id: ObjectId,
    },
}

/// The secret from which each application's seed is derived. It is created once, and then costs one request.
///
/// A seed depends only on the application's namespace and name. An application that is removed and made again, or restored from a
/// backup, therefore gets the same passwords.
#[derive(Debug, Clone)]
pub struct Seeds(Seed);

impl Seeds {
    /// Reads an agent's secret from the Secret `pintle-seed` in its namespace, or creates it.
    pub async fn of_agent(connection: &Connection, namespace: &str) -> Result<Self, SeedError> {
        open(connection, namespace, "pintle-seed").await.map(Self)
    }

    /// Returns the seed of an application.
    pub fn of(&self, application: &ApplicationName) -> Seed {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.0.derive(&format!("application/{application}"), 32));
        Seed::from_bytes(bytes)
    }

    /// Reads the seed of one application on the bare command line from the Secret `pintle-seed.NAME` beside its inventory.
    /// Returns `None` if [`Seeds::keep`] has not created one yet.
    pub async fn known(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<Option<Seed>, SeedError> {
        find(connection, &own(application)).await
    }

    /// Keeps a fresh seed for one application on the bare command line, which must not have one yet.
    pub async fn keep(
        connection: &Connection,
        application: &ApplicationName,
        seed: &Seed,
    ) -> Result<(), SeedError> {
        let id = own(application);
        let kept = make(connection, &id, seed).await?;
        (kept == *seed)
            .then_some(())
            .ok_or(SeedError::Superseded { id })
    }

    /// Deletes the seed that [`Seeds::keep`] created. A missing seed is not an error.
    pub async fn remove(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<(), SeedError> {
        let id = own(application);
        let removed = connection
            .delete_object(
                &ResourceType::secrets(),
                &id,
                &crate::objects::Preconditions::default(),
            )
            .await;
        removed.map(drop).map_err(|error| failed(&id, error))
    }
}

async fn open(connection: &Connection, namespace: &str, name: &str) -> Result<Seed, SeedError> {
    let id = id(namespace, name);
    match find(connection, &id).await? {
        Some(seed) => Ok(seed),
        None => make(connection, &id, &Seed::from_bytes(rand::random())).await,
    }
}

async fn find(connection: &Connection, id: &ObjectId) -> Result<Option<Seed>, SeedError> {
    let secret = connection.read(&ResourceType::secrets(), id).await;
    let secret = secret.map_err(|error| failed(id, error))?;
    secret.map(|secret| read(&secret, id)).transpose()
}

/// Creates a Secret, and returns the seed that it holds afterwards: another client may have been faster.
async fn make(connection: &Connection, id: &ObjectId, seed: &Seed) -> Result<Seed, SeedError> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "pintle.dev/seed", "immutable": true,
        "metadata": {
            "name": id.name, "namespace": id.namespace, "labels": {"app.kubernetes.io/managed-by": "pintle"},
        },
        "data": {KEY: STANDARD.encode(seed.expose())},
    });
    let path = ResourceType::secrets().path(id.namespace.as_deref(), None);
    let call = Call::new(Method::POST, path)
        .query("fieldManager", PINTLE_MANAGER)
        .body(JSON, &secret);
    match connection.call(&call).await {
        Ok(_) => Ok(seed.clone()),
        // Another client was faster, or the response to our own request was lost: the stored seed counts.
        Err(error) if error.is_conflict() => {
            find(connection, id).await?.ok_or_else(|| failed(id, error))
        }
        Err(error) => Err(failed(id, error)),
    }
}

fn failed(id: &ObjectId, error: RequestError) -> SeedError {
    SeedError::Request {
        id: id.clone(),
        error: Box::new(error),
    }
}

fn read(secret: &Value, id: &ObjectId) -> Result<Seed, SeedError> {
    let bytes = secret["data"][KEY]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok());
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Seed::from_bytes)
        .ok_or_else(|| SeedError::Malformed { id: id.clone() })
}

/// Returns the Secret that holds the seed of an application on the bare command line.
fn own(application: &ApplicationName) -> ObjectId {
    let name = format!("pintle-seed.{}", application.name);
    id(&application.namespace, &name)
}

fn id(namespace: &str, name: &str) -> ObjectId {
    ResourceType::secrets().id(namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_application_has_its_own_seed_and_keeps_it() {
        let seeds = Seeds(Seed::from_text("agent"));
        let of = |namespace: &str, name: &str| seeds.of(&ApplicationName::new(namespace, name));
        assert_eq!(of("shop", "web"), of("shop", "web"));
        assert_ne!(of("shop", "web"), of("shop", "api"));
        assert_ne!(of("shop", "web"), seeds.0);
    }

    #[test]
    fn a_secret_without_a_seed_is_refused() {
        let error = read(
            &json!({"data": {"seed": "c2hvcnQ="}}),
            &id("shop", "pintle-seed.web"),
        )
        .unwrap_err();
        insta::assert_snapshot!(error, @"Secret shop/pintle-seed.web holds no seed: expected 32 bytes in the key `seed`; if it is lost, delete the Secret, and what was derived from it changes");
    }
}
