//! The renderer `helm`: a chart, rendered as Helm does.

pub mod engine;
pub mod settings;

use pintle_sdk::{Plugin, Problem};

use crate::settings::Settings;

/// The renderer `helm`.
#[derive(Debug)]
pub struct Helm;

impl Plugin for Helm {
    const NAME: &'static str = "helm";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "a Helm chart, rendered as Helm does";
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}
