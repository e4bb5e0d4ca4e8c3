//! Exports health checks.

use crate::{Assessment, GroupKind, Health, Status};

use super::wit::types;
use super::{Adapter, document};

wit_bindgen::generate!({
    path: ["../wit/types", "../wit/health"],
    inline: "
        package pintle:sdk-health;
        world assesses { export pintle:health/health@1.0.0; }
    ",
    with: { "pintle:types/types@1.0.0": crate::glue::wit::types },
    pub_export_macro: true,
});

use exports::pintle::health::health;

impl<T: Health> health::Guest for Adapter<T> {
    fn judges() -> Vec<health::GroupKind> {
        T::judges().into_iter().map(Into::into).collect()
    }

    fn assess(
        settings: String,
        object: String,
        now_ms: u64,
    ) -> Result<health::Assessment, types::Failure> {
        let settings = super::settings::<T>(&settings)?;
        Ok(T::assess(&settings, &document(&object), now_ms)?.into())
    }
}

impl From<GroupKind> for health::GroupKind {
    fn from(judged: GroupKind) -> Self {
        Self {
            group: judged.group,
            kind: judged.kind,
        }
    }
}

impl From<Assessment> for health::Assessment {
    fn from(assessment: Assessment) -> Self {
        let status = match assessment.status {
            Status::Healthy => health::Status::Healthy,
            Status::Progressing => health::Status::Progressing,
            Status::Degraded => health::Status::Degraded,
            Status::Suspended => health::Status::Suspended,
            Status::Unknown => health::Status::Unknown,
        };
        Self {
            status,
            message: assessment.message,
            recheck_after_ms: assessment.recheck_after_ms,
        }
    }
}
