//! The renderer's crates, called natively.

mod disk;

use std::fs;
use std::path::Path;
use std::rc::Rc;

use pintle_gotemplate::{Map, State, Value};
use pintle_helm_chart::{
    Capabilities, Chart, Cluster, HelmDefaults, KubeVersion, Options, Release, Warnings, compose,
    load_archive, load_folder, read_values, templates,
    values::{
        from_json, merge,
        set::{self, merge_json, set_file, set_literal, set_string},
    },
};
use pintle_renderer_helm::{
    engine::{Engine, Template},
    release::{self, Output, Wanted},
};
use pintle_sprig::{Clock, Secrets};

use crate::compare::Outcome;
use crate::oracle::{Expression, Hook, Templating};

/// Returns the engine that all renders here use, with a fixed time and seed.
pub fn engine() -> Engine {
    engine_of(1_700_000_000, 0)
}

/// Returns an engine at a time, in seconds, and with a seed.
pub fn engine_of(time: i64, seed: u8) -> Engine {
    let state = State::default()
        .with(Clock {
            seconds: time,
            nanoseconds: 0,
        })
        .with(Secrets::new(move |purpose, count| {
            let bytes = purpose.bytes().cycle().take(count as usize);
            bytes.map(|byte| byte.wrapping_add(seed)).collect()
        }));
    Engine::new(state)
}

/// Runs a closure with a stack that is large enough for the deepest template in an unoptimised build.
///
/// # Panics
///
/// If `run` does.
pub fn on_large_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(512 << 20)
            .spawn_scoped(scope, run)
            .expect("a thread can be started")
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns the chart in which [`expression`] renders, the same as the oracle's.
fn chart_of(asked: &Expression) -> Result<Chart, String> {
    let files: [(&str, &[u8]); 5] = [
        (
            "Chart.yaml",
            b"apiVersion: v2\nname: c\nversion: 0.1.0\nappVersion: 1.2.3\n",
        ),
        ("a.txt", b"one\ntwo\n"),
        ("dir/b.bin", &[0, 0xff, b'x']),
        ("templates/t.yaml", asked.text.as_bytes()),
        ("templates/_helpers.tpl", asked.helpers.as_bytes()),
    ];
    let options = Options {
        files: true,
        ..Options::default()
    };
    load_folder(&disk::InMemory(&files), options, &mut Warnings::default())
        .map_err(|error| error.to_string())
}

/// Renders an expression.
pub fn expression(engine: &Engine, asked: &Expression) -> Outcome {
    let chart = chart_of(asked)?;
    let Value::Map(values) = from_json(&asked.input) else {
        return Err("the input is no table".to_owned());
    };
    let release = Release {
        name: "r".to_owned(),
        namespace: "n".to_owned(),
        is_upgrade: false,
    };
    let values = compose(&chart, &values, false, &mut Warnings::default())
        .map_err(|error| error.to_string())?;
    let capabilities = Rc::new(Capabilities::new(HelmDefaults));
    let templates = templates(&chart, &values, &release, capabilities).into_iter();
    let templates = templates.map(|template| Template {
        name: template.name,
        base_path: template.base_path.to_string(),
        text: template.text,
        values: template.values,
    });
    let rendered = engine
        .render(templates.collect())
        .map_err(|error| error.to_string())?;
    let ours = rendered
        .iter()
        .find(|one| one.name == "c/templates/t.yaml")
        .ok_or_else(|| "the engine rendered no template".to_owned())?;
    Ok(ours.text.as_bytes().to_vec())
}

/// A rendered chart, with the same content as [`crate::oracle::Answer`].
#[derive(Clone, Debug, Default)]
pub struct Templated {
    /// The manifests with Helm's comments, without the definitions in `crds/`.
    pub manifest: Vec<u8>,
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// The notes.
    pub notes: String,
    /// The objects, definitions in `crds/` first.
    pub objects: Vec<serde_json::Value>,
}

/// Renders a chart on disk.
pub fn template(engine: &Engine, asked: &Templating) -> Result<Templated, String> {
    let values = user_values(asked)?;
    let mut warnings = Warnings::default();
    let chart = load(asked, &mut warnings)?;
    let release = Release {
        name: asked.release.clone(),
        namespace: asked.namespace.clone(),
        is_upgrade: asked.is_upgrade,
    };
    let wanted = Wanted {
        crds: asked.include_crds,
        sub_notes: asked.sub_notes,
        skip_schemas: asked.skip_schema,
    };
    let kube_version = match asked.kube_version.as_str() {
        "" => KubeVersion::helm_default(),
        version => KubeVersion::parse(version).map_err(|error| error.to_string())?,
    };
    let capabilities = Capabilities::new(Flags {
        kube_version,
        api_versions: asked.api_versions.clone(),
    });
    let output = release::render(
        chart,
        &values,
        &release,
        capabilities,
        wanted,
        engine,
        &mut warnings,
    );
    Ok(templated(output.map_err(|error| error.to_string())?))
}

/// The cluster that the flags describe.
struct Flags {
    kube_version: KubeVersion,
    api_versions: Vec<String>,
}

impl Cluster for Flags {
    fn kube_version(&self) -> KubeVersion {
        self.kube_version.clone()
    }

    fn api_versions(&self) -> Vec<String> {
        let mut all = HelmDefaults.api_versions();
        all.extend(self.api_versions.iter().cloned());
        all
    }
}

fn load(asked: &Templating, warnings: &mut Warnings) -> Result<Chart, String> {
    if asked.chart.is_dir() {
        let options = Options {
            crds: asked.include_crds,
            files: true,
            ..Options::default()
        };
        return load_folder(&disk::OnDisk(&asked.chart), options, warnings)
            .map_err(|error| error.to_string());
    }
    let bytes = fs::read(&asked.chart).map_err(|error| error.to_string())?;
    load_archive(&bytes, warnings).map_err(|error| error.to_string())
}

/// Returns the user's values, merged in the same order as by the command.
fn user_values(asked: &Templating) -> Result<Map, String> {
    let mut values = Map::new();
    for path in &asked.values {
        let text = fs::read(path).map_err(|error| error.to_string())?;
        let read = read_values(&text)
            .map_err(|error| format!("failed to parse {}: {error}", path.display()))?;
        values = merge(&values, &read);
    }
    for line in &asked.set_json {
        values = merge_json(line, values).map_err(|error| error.to_string())?;
    }
    let put = |lines: &[String], put: fn(&str, &Map) -> Result<(), set::SetError>| {
        lines
            .iter()
            .try_for_each(|line| put(line, &values))
            .map_err(|error| error.to_string())
    };
    put(&asked.set, set::set)?;
    put(&asked.set_string, set_string)?;
    for line in &asked.set_file {
        let read = |path: &str| {
            fs::read(Path::new(path))
                .map(|bytes| Value::String(bytes.into()))
                .map_err(|error| error.to_string())
        };
        set_file(line, &values, &read).map_err(|error| error.to_string())?;
    }
    put(&asked.set_literal, set_literal)?;
    Ok(values)
}

fn templated(output: Output) -> Templated {
    let mut given = Templated {
        notes: output.notes.unwrap_or_default(),
        ..Templated::default()
    };
    for manifest in &output.manifests {
        let source = format!("---\n# Source: {}\n", manifest.path);
        given.manifest.extend(source.as_bytes());
        given.manifest.extend(manifest.text.as_bytes());
        given.manifest.push(b'\n');
    }
    let objects = output.crds.iter().chain(&output.manifests);
    let objects = objects
        .map(|manifest| serde_json::from_str(&manifest.json).expect("what is handed over is JSON"));
    given.objects = objects
        .filter(|object: &serde_json::Value| !object.is_null())
        .collect();
    let hooks = output.hooks.into_iter();
    given.hooks = hooks
        .map(|hook| Hook {
            name: hook.manifest.name(),
            kind: hook.manifest.kind(),
            path: hook.manifest.path.clone(),
            manifest: hook.manifest.text.to_str_lossy().into_owned(),
            events: hook
                .events
                .iter()
                .map(|event| event.name().to_owned())
                .collect(),
            weight: hook.weight,
            delete_policies: hook.delete_policies,
            output_log: hook.output_log_policies,
        })
        .collect();
    given
}
