//! Settings as the host would pass them.

use serde_json::Value;

use crate::{Plugin, Problem};

/// Parses and validates settings exactly as every call of the component does.
///
/// ```
/// # use pintle_sdk::{Plugin, schemars::JsonSchema};
/// # struct Tags;
/// # #[derive(serde::Deserialize, JsonSchema)]
/// # #[serde(deny_unknown_fields)]
/// # struct TagSettings { #[serde(default)] registries: Vec<String> }
/// # impl Plugin for Tags {
/// #     const NAME: &'static str = "tags";
/// #     const VERSION: &'static str = "1.0.0";
/// #     const SUMMARY: &'static str = "demands tags";
/// #     type Settings = TagSettings;
/// # }
/// let settings = pintle_sdk::testing::settings::<Tags>(&serde_json::json!({"registries": ["ghcr.io"]}));
/// assert_eq!(settings.expect("good settings").registries, ["ghcr.io"]);
/// ```
pub fn settings<T: Plugin>(settings: &Value) -> Result<T::Settings, Vec<Problem>> {
    crate::settings::parse::<T>(&settings.to_string())
}

/// Returns the JSON Schema of the settings, as `describe` returns it.
pub fn schema<T: Plugin>() -> Value {
    crate::settings::schema::<T::Settings>()
}
