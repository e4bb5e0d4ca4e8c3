//! Changes that others make to an application's objects, and what is done about them.
//!
//! A change of a field that an application owns is *drift*. Depending on the application's settings, it is repaired or only
//! reported. Some fields never count as drift, because others are meant to write them. See `docs/reference/drift.md`.

mod counterparts;
mod disputes;
mod found;
mod ignored;
mod overlay;
mod pointer;
mod settings;

pub use self::{
    disputes::{Disputes, Due, FIRST_TRUCE, Fight, LONGEST_TRUCE, QUIET, Sight},
    found::{DriftedField, DriftedObject, Opponent},
    ignored::Ignored,
    overlay::{Respected, respecting},
    pointer::{FieldPointer, ParseFieldPointerError},
    settings::{DriftMode, DriftSettings, IgnoreRule, IgnoreRuleError},
};
