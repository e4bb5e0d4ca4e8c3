//! What is deployed: many small applications, each in its own folder of one repository.

use std::fmt::Write as _;

/// The namespace of all Applications and of their objects.
pub(super) const NAMESPACE: &str = "bench";

/// The name of the container in each Deployment.
pub(super) const CONTAINER: &str = "web";

/// The folder of the Applications themselves, in the same repository.
pub(super) const FLEET: &str = "fleet";

/// The Application that deploys all the others.
pub(super) const ROOT: &str = "root";

/// The number of objects in an Application.
pub(super) const OBJECTS: usize = 4;

/// The names of the Applications. The objects of each have its name, too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names(u16);

impl Names {
    pub(super) fn new(count: u16) -> Self {
        Self(count)
    }

    pub(super) fn count(self) -> usize {
        self.0.into()
    }

    pub(super) fn all(self) -> impl Iterator<Item = String> {
        (1..=self.0).map(name)
    }

    /// Returns the name of the Application that gets a commit.
    pub(super) fn chosen(self) -> String {
        name(self.0.div_ceil(2))
    }

    pub(super) fn contains(self, name: &str) -> bool {
        self.all().any(|one| one == name)
    }
}

fn name(number: u16) -> String {
    format!("app-{number:04}")
}

/// Returns the folder of an Application in the repository.
pub(super) fn folder(name: &str) -> String {
    format!("apps/{name}")
}

/// Returns an Application's only file. It sets every field, so that no controller has to fill in anything. It asks for no pods,
/// because the scheduler's work is not what is measured.
pub(super) fn manifests(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n\
         ---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n  labels: {{app: {name}}}\n\
         spec:\n  replicas: 0\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    \
         metadata:\n      labels: {{app: {name}}}\n    spec:\n      serviceAccountName: {name}\n      \
         containers:\n      - name: {CONTAINER}\n        image: {image}\n        ports:\n        - name: http\n          \
         containerPort: 8080\n        resources:\n          requests: {{cpu: 10m, memory: 16Mi}}\n          \
         limits: {{memory: 64Mi}}\n\
         ---\n\
         apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nspec:\n  selector: {{app: {name}}}\n  \
         ports:\n  - name: http\n    port: 80\n    targetPort: http\n\
         ---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nspec:\n  rules:\n  \
         - host: {name}.example.com\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        \
         backend:\n          service:\n            name: {name}\n            port: {{name: http}}\n"
    )
}

/// Returns one file with all Applications. Each checks its source again after an interval in seconds.
pub(super) fn applications(names: Names, url: &str, interval: u64) -> String {
    let mut text = String::new();
    for name in names.all() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "---\napiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\n  \
             namespace: {NAMESPACE}\nspec:\n  source:\n    git:\n      url: {url}\n      branch: main\n      \
             path: {}\n  interval: {interval}s\n  renderer: {{plugin: manifests}}\n  policies:\n  - plugin: guardrails\n  \
             health:\n  - plugin: kubernetes\n",
            folder(&name)
        );
    }
    text
}

/// Returns the only Application that an operator applies by hand: all others are in git.
pub(super) fn root(url: &str, interval: u64) -> String {
    format!(
        "apiVersion: pintle.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {ROOT}\n  namespace: {NAMESPACE}\nspec:\n  \
         source:\n    git:\n      url: {url}\n      branch: main\n      path: {FLEET}\n  interval: {interval}s\n  \
         renderer: {{plugin: manifests}}\n  health:\n  - plugin: kubernetes\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_one_is_one_of_them() {
        for count in [1, 2, 99, 5000] {
            let names = Names::new(count);
            assert!(names.contains(&names.chosen()), "{count}");
            assert_eq!(names.all().count(), names.count());
        }
        assert!(!Names::new(2).contains("app-0003"));
    }
}
