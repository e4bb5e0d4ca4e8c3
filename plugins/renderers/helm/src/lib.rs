//! The renderer `helm`: renders a chart as Helm does.
//!
//! The README of this folder describes what users see, including settings and rules. The parts: [`settings`] defines what an
//! application may set, `inputs` names what must be fetched, `values` combines the user's values, [`engine`] executes the
//! templates, [`release`] covers everything between a chart and its manifests, and `objects` hands them over.

pub mod engine;
mod folder;
mod inputs;
mod lookup;
mod memory;
mod objects;
mod problem;
pub mod release;
pub mod settings;
mod values;

use std::rc::Rc;

use pintle_gotemplate::State;
use pintle_helm_chart::{
    API_VERSIONS, Capabilities, Chart, Cluster, Folder, KubeVersion, Options, Release, Warnings,
    load_folders,
};
use pintle_sdk::{Context, Failure, Plugin, Problem, Renderer, Rendering, Request, Source, Tree};
use pintle_sprig::{Clock, ClockSource, Powers, Secrets};

use crate::{
    engine::Engine, folder::HostFolder, lookup::HostCluster, release::Wanted, settings::Settings,
};

/// The renderer `helm`.
#[derive(Debug)]
pub struct Helm;

impl Plugin for Helm {
    const NAME: &'static str = "helm";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SUMMARY: &'static str = "a Helm chart, rendered as Helm does";
    type Settings = Settings;

    /// `lookup` may name any kind.
    fn requests() -> Vec<Request> {
        vec![Request::ClusterRead("*".to_owned())]
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Renderer for Helm {
    fn detect(folder: &dyn Tree) -> bool {
        folder
            .stat("Chart.yaml")
            .is_some_and(|entry| entry.is_file())
    }

    fn inputs(settings: &Settings, folder: &dyn Tree) -> Result<Vec<Source>, Failure> {
        inputs::sources(settings, folder)
    }

    fn render(
        settings: &Settings,
        folder: &dyn Tree,
        inputs: &[&dyn Tree],
        context: &dyn Context,
    ) -> Result<Rendering, Failure> {
        memory::reserve(memory::AT_FIRST);
        let mut warnings = Warnings::default();
        let user = values::read(settings, folder)?;
        let options = Options {
            crds: settings.include_crds,
            files: user.mentions_files,
            packed: false,
        };
        let chart = load(settings, folder, inputs, options, &mut warnings)?;
        memory::reserve(templates_size(&chart).saturating_mul(memory::TIMES));
        let release = Release {
            name: given_or(settings.release_name.as_ref(), || context.name()),
            namespace: given_or(settings.namespace.as_ref(), || context.namespace()),
            is_upgrade: settings.is_upgrade,
        };
        let wanted = Wanted {
            crds: settings.include_crds,
            sub_notes: settings.sub_notes,
            skip_schemas: settings.skip_schema_validation,
        };
        let output = release::render(
            chart,
            &user.values,
            &release,
            capabilities(settings, context),
            wanted,
            &engine(context),
            &mut warnings,
        )
        .map_err(|error| problem::of_release(&error))?;
        objects::rendering(settings, output, warnings)
    }
}

pintle_sdk::export_renderer!(Helm);

fn given_or(given: Option<&String>, other: impl FnOnce() -> String) -> String {
    given.cloned().unwrap_or_else(other)
}

/// Returns the total size of the templates of a chart and its dependencies, in bytes.
fn templates_size(chart: &Chart) -> usize {
    let own: usize = chart.templates.iter().map(|file| file.data.len()).sum();
    let below: usize = chart.dependencies.iter().map(templates_size).sum();
    own + below
}

/// Loads the chart, including the fetched dependencies.
fn load(
    settings: &Settings,
    folder: &dyn Tree,
    inputs: &[&dyn Tree],
    options: Options,
    warnings: &mut Warnings,
) -> Result<Chart, Failure> {
    let packed = Options {
        packed: true,
        ..options
    };
    let (mut folders, mut wanted) = (Vec::new(), Vec::new());
    if settings.chart.is_some() {
        let tree = inputs.first().ok_or_else(inputs::not_given)?;
        folders.push((HostFolder(*tree), packed));
    } else {
        folders.push((HostFolder(folder), options));
        if !inputs.is_empty() {
            wanted = inputs::wanted(folder)?;
        }
        for (index, tree) in inputs.iter().enumerate() {
            let wanted = wanted.get(index).ok_or_else(inputs::not_given)?;
            let options = if wanted.is_packed() { packed } else { options };
            folders.push((HostFolder(*tree), options));
        }
    }
    let folders: Vec<(&dyn Folder, Options)> = folders
        .iter()
        .map(|(folder, options)| (folder as &dyn Folder, *options))
        .collect();
    let charts = load_folders(&folders, warnings).map_err(|error| problem::of_load(&error))?;
    let mut charts = charts.into_iter();
    let mut chart = charts.next().ok_or_else(inputs::not_given)?;
    for (wanted, fetched) in wanted.iter().zip(charts) {
        inputs::check(wanted, &fetched)?;
        chart.dependencies.push(fetched);
    }
    Ok(chart)
}

/// Returns what templates can learn about the cluster.
fn capabilities(settings: &Settings, context: &dyn Context) -> Capabilities {
    Capabilities::new(HostCapabilities {
        context: context.shared(),
        kube_version: settings.kube_version.clone(),
        api_versions: settings.api_versions.clone(),
    })
}

/// The host's answers, which the settings override or extend.
struct HostCapabilities {
    context: Rc<dyn Context>,
    kube_version: Option<String>,
    api_versions: Vec<String>,
}

impl Cluster for HostCapabilities {
    fn kube_version(&self) -> KubeVersion {
        let version = given_or(self.kube_version.as_ref(), || self.context.kube_version());
        // An invalid version was already refused with the settings, or is the host's way of saying that it does not know.
        KubeVersion::parse(&version).unwrap_or_else(|_| KubeVersion::helm_default())
    }

    fn api_versions(&self) -> Vec<String> {
        let mut versions = self.context.api_versions();
        if versions.is_empty() {
            // Without a cluster, these are the API versions that Helm assumes.
            versions.extend(API_VERSIONS.iter().map(|one| (*one).to_owned()));
        }
        versions.extend(self.api_versions.iter().cloned());
        versions
    }
}

/// Returns an engine that gives its functions access to the outside world. Each piece of information is requested only when a
/// function needs it, because the requests determine when a render is repeated.
fn engine(context: &dyn Context) -> Engine {
    let (time, seed, calculator) = (context.shared(), context.shared(), context.shared());
    let clock = ClockSource::new(move || Clock {
        seconds: time.revision_time(),
        nanoseconds: 0,
    });
    let secrets = Secrets::new(move |purpose, length| seed.secret_bytes(purpose, length));
    let powers = Powers::new(move |base, exponent, modulus| {
        calculator.power_modulo(base, exponent, modulus)
    });
    let state = State::default().with(clock).with(secrets).with(powers);
    Engine::new(state).with_lookup(Rc::new(HostCluster(context.shared())))
}
