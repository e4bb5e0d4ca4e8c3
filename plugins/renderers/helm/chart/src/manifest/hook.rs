//! Hooks: manifests that run at certain events.

use super::{Manifest, ManifestError};

/// The annotation that makes a manifest a hook.
pub(super) const ANNOTATION: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";
const DELETE: &str = "helm.sh/hook-delete-policy";
const OUTPUT_LOG: &str = "helm.sh/hook-output-log-policy";

/// An event at which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of Helm's annotation")]
pub enum HookEvent {
    PreInstall,
    PostInstall,
    PreDelete,
    PostDelete,
    PreUpgrade,
    PostUpgrade,
    PreRollback,
    PostRollback,
    Test,
}

impl HookEvent {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pre-install" => Self::PreInstall,
            "post-install" => Self::PostInstall,
            "pre-delete" => Self::PreDelete,
            "post-delete" => Self::PostDelete,
            "pre-upgrade" => Self::PreUpgrade,
            "post-upgrade" => Self::PostUpgrade,
            "pre-rollback" => Self::PreRollback,
            "post-rollback" => Self::PostRollback,
            // Helm 2's name for it.
            "test" | "test-success" => Self::Test,
            _ => return None,
        })
    }

    /// Returns the name as Helm stores it: `pre-install`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreDelete => "pre-delete",
            Self::PostDelete => "post-delete",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::PreRollback => "pre-rollback",
            Self::PostRollback => "post-rollback",
            Self::Test => "test",
        }
    }
}

/// A manifest that runs at certain events.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The manifest.
    pub manifest: Manifest,
    /// The events at which it runs.
    pub events: Vec<HookEvent>,
    /// The weight. Lower weights come first. 0 if the annotation is not a number.
    pub weight: i64,
    /// When the hook is deleted, as in the annotation in lowercase: `hook-succeeded`, `hook-failed`, `before-hook-creation`. Helm
    /// does not check whether it knows the policies.
    pub delete_policies: Vec<String>,
    /// The outcomes after which its logs are shown: `hook-succeeded`, `hook-failed`.
    pub output_log_policies: Vec<String>,
}

impl Hook {
    /// Returns whether the hook runs when a user requests a test.
    pub fn is_test(&self) -> bool {
        self.events.contains(&HookEvent::Test)
    }
}

/// Reads the annotations of a hook. The inner error is the name of an event that Helm does not know.
pub(super) fn read(
    manifest: Manifest,
    events: &str,
) -> Result<Result<Hook, String>, ManifestError> {
    let mut known = Vec::new();
    for name in words(events) {
        match HookEvent::named(&name) {
            Some(event) => known.push(event),
            None => return Ok(Err(name)),
        }
    }
    let annotations = manifest.annotations()?.unwrap_or_default();
    let list = |name: &str| {
        annotations
            .get(name)
            .map_or(Vec::new(), |text| words(text).collect())
    };
    let weight = annotations.get(WEIGHT).and_then(|text| text.parse().ok());
    Ok(Ok(Hook {
        events: known,
        weight: weight.unwrap_or(0),
        delete_policies: list(DELETE),
        output_log_policies: list(OUTPUT_LOG),
        manifest,
    }))
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(',').map(|word| word.trim().to_lowercase())
}
