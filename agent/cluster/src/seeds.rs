//! Secret seeds, kept in the cluster.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use pintle_core::{names::ApplicationName, object::ObjectId, seed::Seed};
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
        /// Why.
        #[source]
        error: Box<RequestError>,
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

/// One secret from which the seed of each application is derived. It is made once, and costs one request then.
///
/// A seed depends on the application's namespace and name only, so that an application that is removed and made again,
/// or restored from a backup, gets the same passwords.
#[derive(Debug, Clone)]
pub struct Seeds(Seed);

impl Seeds {
    /// Reads the secret of an agent from the Secret `pintle-seed` in its namespace, or makes it.
    pub async fn of_agent(connection: &Connection, namespace: &str) -> Result<Self, SeedError> {
        open(connection, namespace, "pintle-seed").await.map(Self)
    }

    /// Returns the seed of an application.
    pub fn of(&self, application: &ApplicationName) -> Seed {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&self.0.derive(&format!("application/{application}"), 32));
        Seed::from_bytes(bytes)
    }

    /// Reads the seed of one application on the bare command line from the Secret `pintle-seed.NAME` beside its
    /// inventory, or makes it.
    pub async fn of_application(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<Seed, SeedError> {
        open(
            connection,
            &application.namespace,
            &format!("pintle-seed.{}", application.name),
        )
        .await
    }

    /// Reads the seed that [`Seeds::of_application`] made, if it did: a plan writes nothing.
    pub async fn known(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<Option<Seed>, SeedError> {
        let id = id(
            &application.namespace,
            &format!("pintle-seed.{}", application.name),
        );
        match connection.read(&ResourceType::secrets(), &id).await {
            Ok(secret) => secret.map(|secret| read(&secret, &id)).transpose(),
            Err(error) => Err(SeedError::Request {
                id,
                error: Box::new(error),
            }),
        }
    }

    /// Deletes the seed that [`Seeds::of_application`] made. That there is none is no error.
    pub async fn remove(
        connection: &Connection,
        application: &ApplicationName,
    ) -> Result<(), SeedError> {
        let id = id(
            &application.namespace,
            &format!("pintle-seed.{}", application.name),
        );
        let removed = connection
            .delete_object(
                &ResourceType::secrets(),
                &id,
                &crate::objects::Preconditions::default(),
            )
            .await;
        removed.map(|_| ()).map_err(|error| SeedError::Request {
            id,
            error: Box::new(error),
        })
    }
}

async fn open(connection: &Connection, namespace: &str, name: &str) -> Result<Seed, SeedError> {
    let id = id(namespace, name);
    let failed = |error: RequestError| SeedError::Request {
        id: id.clone(),
        error: Box::new(error),
    };
    if let Some(secret) = connection
        .read(&ResourceType::secrets(), &id)
        .await
        .map_err(failed)?
    {
        return read(&secret, &id);
    }
    let bytes: [u8; 32] = rand::random();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "pintle.dev/seed", "immutable": true,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "pintle"}},
        "data": {KEY: STANDARD.encode(bytes)},
    });
    let call = Call::new(
        Method::POST,
        ResourceType::secrets().path(Some(namespace), None),
    )
    .query("fieldManager", "pintle")
    .body(JSON, &secret);
    match connection.call(&call).await {
        Ok(_) => Ok(Seed::from_bytes(bytes)),
        // Another was faster, or our own answer was lost: what is there counts.
        Err(error) if error.is_conflict() => {
            match connection
                .read(&ResourceType::secrets(), &id)
                .await
                .map_err(failed)?
            {
                Some(secret) => read(&secret, &id),
                None => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
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
