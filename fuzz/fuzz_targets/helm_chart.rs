//! Whole charts, loaded, composed and rendered, and what else the chart's crate parses.
//!
//! The files of a chart stand behind each other in the input, with a line `=== PATH` before each. What is before the
//! first such line is taken for each of the small languages alone.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use pintle_gotemplate::{Limits, Map, State};
use pintle_helm_chart::{
    Capabilities, Folder, FolderEntry, HelmDefaults, Options, Pattern, Release, Warnings,
    load_archive, load_folder, manifest, read_values,
};
use pintle_renderer_helm::{
    engine::Engine,
    release::{self, Wanted},
};
use pintle_sprig::{Clock, Secrets};

/// Files by path.
struct Files<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Files<'a> {
    fn parse(text: &'a str) -> Self {
        let files = text.split("=== ").filter_map(|file| file.split_once('\n'));
        let inside = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        Self(files.filter(|(path, _)| inside(path)).take(20).collect())
    }
}

impl Folder for Files<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        let (_, content) = found.ok_or("there is no such file")?;
        Ok(content.as_bytes().to_vec())
    }

    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let below = self
            .0
            .iter()
            .filter_map(|(name, _)| name.strip_prefix(&prefix));
        let entries: BTreeSet<(&str, bool)> = below
            .map(|rest| match rest.split_once('/') {
                Some((folder, _)) => (folder, true),
                None => (rest, false),
            })
            .collect();
        let entries = entries.into_iter().map(|(name, is_folder)| FolderEntry {
            name: name.to_owned(),
            is_folder,
        });
        Ok(entries.collect())
    }
}

thread_local! {
    static ENGINE: Engine = Engine::new(
        State::default()
            .with(Clock {
                seconds: 1_700_000_000,
                nanoseconds: 0,
            })
            .with(Secrets::new(|purpose, count| {
                purpose.bytes().cycle().take(count as usize).collect()
            })),
    )
    .with_limits(Limits {
        steps: 20_000,
        output: 1 << 20,
        memory: 16 << 20,
        depth: 60,
    });
}

fn render(files: &Files<'_>) {
    let mut warnings = Warnings::default();
    let options = Options {
        crds: true,
        files: true,
        packed: false,
    };
    let Ok(chart) = load_folder(files, options, &mut warnings) else {
        return;
    };
    let release = Release {
        name: "r".to_owned(),
        namespace: "n".to_owned(),
        is_upgrade: false,
    };
    let wanted = Wanted {
        crds: true,
        sub_notes: true,
        skip_schemas: false,
    };
    let capabilities = Capabilities::new(HelmDefaults);
    // Refused or not: it comes to an end.
    ENGINE.with(|engine| {
        release::render(
            chart,
            &Map::new(),
            &release,
            capabilities,
            wanted,
            engine,
            &mut warnings,
        )
        .ok();
    });
}

fuzz_target!(|bytes: &[u8]| {
    load_archive(bytes, &mut Warnings::default()).ok();
    read_values(bytes).ok();
    manifest::read("t.yaml", &bytes.into()).ok();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(pattern) = Pattern::parse(one) {
        pattern.matches(other);
    }
    pintle_gosemver::matches(one, other);
    render(&Files::parse(text));
});
