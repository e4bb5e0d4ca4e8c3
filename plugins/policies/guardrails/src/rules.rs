//! The rules, by their stable names.

use std::fmt;

use pintle_sdk::{
    policy::Severity,
    schemars::{self, JsonSchema},
};
use serde::{Deserialize, Deserializer, de};

/// A rule. Its name never changes: findings, exceptions and metrics use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An image that is not a valid reference.
    ImageInvalid,
    /// An image with neither tag nor digest.
    ImageTagMissing,
    /// An image with a tag that moves, and no digest.
    ImageTagLatest,
    /// An image without a digest.
    ImageDigestMissing,
    /// An image from a registry or repository that is not allowed.
    RegistryNotAllowed,
    /// A required label that is missing.
    LabelMissing,
    /// A required label with a value that is not allowed.
    LabelInvalid,
    /// A privileged container.
    PrivilegedContainer,
    /// A container that may gain more rights than its parent.
    PrivilegeEscalation,
    /// A container with an added capability that is not allowed.
    CapabilityAdded,
    /// A pod in the host's network, process or IPC namespace.
    HostNamespace,
    /// A pod, or a volume for pods, that mounts a path of the host.
    HostPath,
    /// A container that uses a port of the host.
    HostPort,
    /// A pod or a container that gives up what confines it.
    ConfinementRemoved,
    /// A pod that sets a sysctl which is not allowed.
    SysctlUnsafe,
    /// An object whose pod templates are not where the settings say.
    PodTemplateMissing,
    /// A deletion of a kind that holds data or other objects.
    DeletionOfKind,
    /// More deletions in one plan than allowed.
    TooManyDeletions,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 18] = [
        Self::ImageInvalid,
        Self::ImageTagMissing,
        Self::ImageTagLatest,
        Self::ImageDigestMissing,
        Self::RegistryNotAllowed,
        Self::LabelMissing,
        Self::LabelInvalid,
        Self::PrivilegedContainer,
        Self::PrivilegeEscalation,
        Self::CapabilityAdded,
        Self::HostNamespace,
        Self::HostPath,
        Self::HostPort,
        Self::ConfinementRemoved,
        Self::SysctlUnsafe,
        Self::PodTemplateMissing,
        Self::DeletionOfKind,
        Self::TooManyDeletions,
    ];

    /// Returns the name, as it appears in findings.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageInvalid => "image-invalid",
            Self::ImageTagMissing => "image-tag-missing",
            Self::ImageTagLatest => "image-tag-latest",
            Self::ImageDigestMissing => "image-digest-missing",
            Self::RegistryNotAllowed => "registry-not-allowed",
            Self::LabelMissing => "label-missing",
            Self::LabelInvalid => "label-invalid",
            Self::PrivilegedContainer => "privileged-container",
            Self::PrivilegeEscalation => "privilege-escalation",
            Self::CapabilityAdded => "capability-added",
            Self::HostNamespace => "host-namespace",
            Self::HostPath => "host-path",
            Self::HostPort => "host-port",
            Self::ConfinementRemoved => "confinement-removed",
            Self::SysctlUnsafe => "sysctl-unsafe",
            Self::PodTemplateMissing => "pod-template-missing",
            Self::DeletionOfKind => "deletion-of-kind",
            Self::TooManyDeletions => "too-many-deletions",
        }
    }

    /// Lists all names, for messages.
    fn names() -> String {
        let quoted: Vec<String> = Self::ALL.iter().map(|rule| format!("`{rule}`")).collect();
        quoted.join(", ")
    }

    /// Returns the level of the rule if the settings do not set one.
    ///
    /// A rule denies what opens the node, loses data, or makes the outcome of a rollout depend on when it happens. It warns of
    /// what many charts do without harm, of what a node refuses unless its operator allows it, and of what was not looked at.
    /// Digests are for those who have a tool that writes them.
    pub fn default_level(self) -> Level {
        match self {
            Self::ImageDigestMissing => Level::Off,
            Self::PrivilegeEscalation
            | Self::HostPort
            | Self::SysctlUnsafe
            | Self::PodTemplateMissing => Level::Warn,
            _ => Level::Deny,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Self::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| {
            de::Error::custom(format_args!(
                "there is no rule `{name}`; the rules are {}",
                Self::names()
            ))
        })
    }
}

impl JsonSchema for Rule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": Self::ALL.map(Self::name) })
    }
}

/// The consequence of breaking a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The plan is not applied.
    Deny,
    /// The violation is shown.
    Warn,
    /// The violation is shown to those who look.
    Info,
    /// Nothing happens.
    Off,
}

impl Level {
    /// Returns the severity of findings; `None` if there are to be no findings.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Deny => Some(Severity::Deny),
            Self::Warn => Some(Severity::Warn),
            Self::Info => Some(Severity::Info),
            Self::Off => None,
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl de::Visitor<'_> for Words {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`deny`, `warn`, `info` or `off`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Level, E> {
                match word {
                    "deny" => Ok(Level::Deny),
                    "warn" => Ok(Level::Warn),
                    "info" => Ok(Level::Info),
                    "off" => Ok(Level::Off),
                    other => Err(E::unknown_variant(other, &["deny", "warn", "info", "off"])),
                }
            }

            // YAML reads `off` without quotes as a boolean.
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Level, E> {
                if value {
                    Err(E::invalid_value(de::Unexpected::Bool(value), &self))
                } else {
                    Ok(Level::Off)
                }
            }
        }

        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for Level {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Level".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`deny`, `warn`, `info` or `off`; `false`, which YAML makes of `off`, is `off`.",
            "enum": ["deny", "warn", "info", "off", false],
        })
    }
}
