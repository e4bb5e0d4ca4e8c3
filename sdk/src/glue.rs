//! Conversions between the WIT contract and the native types; components only.
//!
//! The contract's imports are generated once, here. Each kind adds its one exported interface in a separate world, and
//! all kinds share the exported `plugin` interface. When the component is created, the sections that describe these
//! interfaces are merged, which gives the world of the kind. (One `generate!` for each whole world would define the macros
//! of the `plugin` interface four times in this crate.)

pub mod health;
mod http;
pub mod notifier;
mod plan;
pub mod plugin;
pub mod policy;
pub mod renderer;
mod tree;

use std::rc::Rc;

use serde_json::Value;

use crate::log::Level;
use crate::{Cluster, Context, Failure, HookEvent, ObjectId, Plugin, Position, Problem};

mod imports {
    wit_bindgen::generate!({
        path: ["../wit/types"],
        inline: "
            package pintle:sdk-imports;
            world imports {
                import pintle:types/types@1.0.0;
                import pintle:types/log@1.0.0;
                import pintle:types/tree@1.0.0;
                import pintle:types/context@1.0.0;
                import pintle:types/arithmetic@1.0.0;
                import pintle:types/cluster@1.0.0;
                import pintle:types/plan@1.0.0;
                import pintle:types/http@1.0.0;
            }
        ",
        generate_all,
        generate_unused_types: true,
    });
}

/// The contract's shared interfaces, as generated.
pub use imports::pintle::types as wit;

/// A type without values that carries the exports of a plugin.
pub struct Adapter<T>(std::marker::PhantomData<T>);

pub(crate) fn write_log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    wit::log::write(level, message);
}

/// Parses settings. Invalid settings refuse the call with the problems that `validate` returns.
fn settings<T: Plugin>(text: &str) -> Result<T::Settings, wit::types::Failure> {
    crate::settings::parse::<T>(text).map_err(|problems| Failure::Refused(problems).into())
}

/// Parses a document that the host wrote.
fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("the host gives JSON where the contract says so")
}

fn hook_events(events: impl IntoIterator<Item = HookEvent>) -> wit::types::HookEvents {
    use wit::types::HookEvents;
    let flag = |event| match event {
        HookEvent::PreInstall => HookEvents::PRE_INSTALL,
        HookEvent::PostInstall => HookEvents::POST_INSTALL,
        HookEvent::PreUpgrade => HookEvents::PRE_UPGRADE,
        HookEvent::PostUpgrade => HookEvents::POST_UPGRADE,
        HookEvent::PreRollback => HookEvents::PRE_ROLLBACK,
        HookEvent::PostRollback => HookEvents::POST_ROLLBACK,
        HookEvent::PreDelete => HookEvents::PRE_DELETE,
        HookEvent::PostDelete => HookEvents::POST_DELETE,
        HookEvent::Test => HookEvents::TEST,
    };
    events.into_iter().map(flag).collect()
}

impl From<Position> for wit::types::Position {
    fn from(position: Position) -> Self {
        Self {
            file: position.file,
            line: position.line,
            column: position.column,
        }
    }
}

impl From<wit::types::Position> for Position {
    fn from(position: wit::types::Position) -> Self {
        Self {
            file: position.file,
            line: position.line,
            column: position.column,
        }
    }
}

impl From<Problem> for wit::types::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            message: problem.message,
            pointer: problem.pointer,
            position: problem.position.map(Into::into),
            hint: problem.hint,
        }
    }
}

impl From<Failure> for wit::types::Failure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(problems) => {
                Self::Refused(problems.into_iter().map(Into::into).collect())
            }
            Failure::Unavailable {
                reason,
                retry_after_ms,
            } => Self::Unavailable(wit::types::Outage {
                reason,
                retry_after_ms,
            }),
        }
    }
}

impl From<ObjectId> for wit::types::ObjectId {
    fn from(id: ObjectId) -> Self {
        Self {
            api_version: id.api_version,
            kind: id.kind,
            namespace: id.namespace,
            name: id.name,
        }
    }
}

impl From<wit::types::ObjectId> for ObjectId {
    fn from(id: wit::types::ObjectId) -> Self {
        Self {
            api_version: id.api_version,
            kind: id.kind,
            namespace: id.namespace,
            name: id.name,
        }
    }
}

/// The host's answers about where the result goes.
struct HostContext;

impl Context for HostContext {
    fn name(&self) -> String {
        wit::context::name()
    }

    fn namespace(&self) -> String {
        wit::context::namespace()
    }

    fn kube_version(&self) -> String {
        wit::context::kube_version()
    }

    fn api_versions(&self) -> Vec<String> {
        wit::context::api_versions()
    }

    fn revision(&self) -> String {
        wit::context::revision()
    }

    fn revision_time(&self) -> i64 {
        wit::context::revision_time()
    }

    fn secret_bytes(&self, purpose: &str, length: u32) -> Vec<u8> {
        wit::context::secret_bytes(purpose, length)
    }

    fn power_modulo(&self, base: &[u8], exponent: &[u8], modulus: &[u8]) -> Option<Vec<u8>> {
        wit::arithmetic::power_modulo(base, exponent, modulus)
    }

    fn cluster(&self) -> &dyn Cluster {
        &HostCluster
    }

    fn shared(&self) -> Rc<dyn Context> {
        Rc::new(Self)
    }
}

/// The host's view of the cluster.
struct HostCluster;

impl Cluster for HostCluster {
    fn get(&self, id: &ObjectId) -> Option<Value> {
        wit::cluster::get(&id.clone().into())
            .as_deref()
            .map(document)
    }

    fn find(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Value> {
        wit::cluster::find(api_version, kind, namespace)
            .iter()
            .map(|text| document(text))
            .collect()
    }
}
