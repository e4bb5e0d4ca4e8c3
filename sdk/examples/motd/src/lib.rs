//! A renderer from scratch: a `ConfigMap` with the message of the day.
//!
//! `docs/plugins/authoring.md` walks through it.

use pintle_sdk::{Context, Failure, Plugin, Problem, RenderedObject, Renderer, Rendering, Tree};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Renders a folder that has a `motd.txt`.
pub struct Motd;

/// What an application may set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// The file with the message, relative to the folder.
    #[serde(default = "default_file")]
    file: String,
    /// Longest message, in bytes.
    #[serde(default = "default_max_length")]
    max_length: usize,
}

fn default_file() -> String {
    "motd.txt".to_owned()
}

fn default_max_length() -> usize {
    1024
}

impl Plugin for Motd {
    const NAME: &'static str = "motd";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "a ConfigMap with the message of the day";
    type Settings = Settings;

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        if settings.max_length == 0 {
            let problem = Problem::new("no message is that short").pointer("/maxLength");
            problems.push(problem.hint("leave it out for 1024 bytes"));
        }
        problems
    }
}

impl Renderer for Motd {
    fn detect(folder: &dyn Tree) -> bool {
        folder.stat("motd.txt").is_some_and(|entry| entry.is_file())
    }

    fn render(
        settings: &Settings,
        folder: &dyn Tree,
        _inputs: &[&dyn Tree],
        context: &dyn Context,
    ) -> Result<Rendering, Failure> {
        let path = settings.file.as_str();
        let bytes = folder.read(path).map_err(|error| error.at(path))?;
        let message = String::from_utf8(bytes)
            .map_err(|_| Problem::new(format!("`{path}` is not UTF-8 text")))?;
        if message.len() > settings.max_length {
            let problem = format!(
                "`{path}` has {} bytes, and the limit is {}",
                message.len(),
                settings.max_length
            );
            return Err(Problem::new(problem)
                .hint("shorten it, or raise maxLength")
                .into());
        }
        pintle_sdk::log::debug(format!("{} bytes", message.len()));
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": format!("{}-motd", context.name()), "namespace": context.namespace()},
            "data": {"motd": message},
        });
        Ok(Rendering {
            objects: vec![RenderedObject::new(manifest)],
            ..Rendering::default()
        })
    }
}

pintle_sdk::export_renderer!(Motd);

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_sdk::testing::{FixedContext, MemoryTree, check_plugin, settings};

    fn render(set: serde_json::Value, folder: &MemoryTree) -> Result<Rendering, Failure> {
        Motd::render(
            &settings::<Motd>(&set)?,
            folder,
            &[],
            &FixedContext::new().with_name("web"),
        )
    }

    #[test]
    fn is_a_sound_plugin() {
        check_plugin::<Motd>();
    }

    #[test]
    fn the_message_becomes_a_config_map() {
        let folder = MemoryTree::new().file("motd.txt", "hello");
        let rendering = render(json!({}), &folder).expect("rendered");
        assert_eq!(
            rendering.objects[0].manifest["metadata"]["name"],
            "web-motd"
        );
        assert_eq!(rendering.objects[0].manifest["data"]["motd"], "hello");
        assert_eq!(folder.reads(), ["read motd.txt"]);
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let folder = MemoryTree::new().file("motd.txt", "hello");
        let failure = render(json!({"maxLength": 3}), &folder).expect_err("too long");
        assert_eq!(
            failure.to_string(),
            "refused: `motd.txt` has 5 bytes, and the limit is 3 (shorten it, or raise maxLength)"
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let failure = render(json!({"maxlength": 3}), &MemoryTree::new()).expect_err("misspelt");
        assert_eq!(
            failure.to_string(),
            "refused: /maxlength: unknown field `maxlength`, expected `file` or `maxLength`"
        );
    }
}
