//! What others change of an application's objects, and what is done about it.
//!
//! A change of a field that an application owns is *drift*. It is repaired, or only reported, as the application says; and
//! some fields are nobody's drift at all, because others are meant to write them. See `docs/reference/drift.md`.

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
