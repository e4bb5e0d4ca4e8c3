//! How people make requests to the agent: with annotations that say who wants what, and by changing fields.

use std::collections::BTreeMap;

use http::Method;
use pintle_core::names::COMMAND_LINE_MANAGER;
use serde_json::{Value, json};

use super::{Application, Applications, CustomResource};
use crate::{
    connection::Connection,
    objects::{JSON, MERGE},
    request::{Call, RequestError},
};

impl Connection {
    /// Asks the API server which user name requests are made under.
    ///
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review>
    pub async fn user_name(&self) -> Result<String, RequestError> {
        const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
        });
        let answer = self
            .call(&Call::new(Method::POST, PATH).body(JSON, &review))
            .await?;
        let name = answer["status"]["userInfo"]["username"].as_str();
        Ok(name.unwrap_or("an unnamed user").to_owned())
    }
}

impl Applications {
    /// Sets annotations, or removes those without a value, and sets fields of the spec: all of it or nothing. The caller's own
    /// rights decide.
    pub async fn ask(
        &self,
        known: &Application,
        annotations: &BTreeMap<&str, Option<String>>,
        spec: Option<&Value>,
    ) -> Result<Application, RequestError> {
        let mut patch = json!({"metadata": {"uid": known.uid, "annotations": annotations}});
        if let Some(spec) = spec {
            patch["spec"] = spec.clone();
        }
        let place = self
            .resource
            .path(known.namespace.as_deref(), Some(&known.name));
        let call = Call::new(Method::PATCH, place)
            .query("fieldManager", COMMAND_LINE_MANAGER)
            .body(MERGE, &patch);
        Ok(CustomResource::read(self.connection.call(&call).await?))
    }
}
