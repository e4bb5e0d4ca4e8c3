//! Everything between a chart and its manifests, in the steps of `helm template`.
//!
//! Native callers with a chart on disk use [`pintle_helm_chart::load_folder`] or [`pintle_helm_chart::load_archive`], then
//! [`render`].

mod error;

use std::{collections::BTreeMap, rc::Rc};

use pintle_gotemplate::{Map, Separator};
use pintle_helm_chart::{
    Capabilities, Chart, Release, Warnings, compose, dependencies, is_release_name,
    manifest::{self, Hook, Manifest, Part, Rendered, Sorted},
    templates,
};

use crate::{
    engine::{Engine, Template},
    memory::leave,
};
pub use error::ReleaseError;

/// What is requested of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the definitions in `crds/` are part of the result (`--include-crds`).
    pub crds: bool,
    /// Whether the notes of subcharts are part of the notes (`--render-subchart-notes`).
    pub sub_notes: bool,
    /// Whether values are not checked against schemas (`--skip-schema-validation`).
    pub skip_schemas: bool,
}

/// The output of a chart for a release. Each list is in Helm's order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The definitions in `crds/`, if requested.
    pub crds: Vec<Manifest>,
    /// The manifests to install. They include documents that contain only comments, as in Helm's output.
    pub manifests: Vec<Manifest>,
    /// The hooks, which run at certain events.
    pub hooks: Vec<Hook>,
    /// The notes for the user, if the chart has any.
    pub notes: Option<String>,
    /// The template lines from which the documents come.
    pub lines: Lines,
}

/// The lines of the templates from which the documents in their output come.
#[derive(Clone, Debug, Default)]
pub struct Lines(BTreeMap<String, Vec<Separator>>);

impl Lines {
    /// Returns the line of a manifest in its file, from 1: the line at which the manifest begins, if the file's text shows it,
    /// otherwise the nearest known line before it.
    pub fn of(&self, manifest: &Manifest) -> usize {
        // A manifest that does not come from a template has the same line as in its file.
        self.in_template(&manifest.path, &manifest.text)
            .unwrap_or(manifest.line)
    }

    fn in_template(&self, path: &str, document: &Part) -> Option<usize> {
        let separators = self.0.get(path)?;
        let before = separators.partition_point(|one| one.at < document.start());
        let last = before.checked_sub(1).map(|last| separators[last].line);
        Some(last.unwrap_or(1))
    }
}

/// Renders a chart: selects its dependencies, combines the values, executes the templates and sorts their output.
///
/// `values` are the user's. What Helm would only log goes to `warnings`.
pub fn render(
    mut chart: Chart,
    values: &Map,
    release: &Release,
    capabilities: Capabilities,
    wanted: Wanted,
    engine: &Engine,
    warnings: &mut Warnings,
) -> Result<Output, ReleaseError> {
    if !is_release_name(&release.name) {
        return Err(ReleaseError::Name(release.name.clone()));
    }
    check_installable(&chart, warnings)?;
    dependencies::process(&mut chart, values, warnings).map_err(ReleaseError::Dependencies)?;
    let values = compose(&chart, values, wanted.skip_schemas, warnings)?;
    check_kube_version(&chart, &capabilities)?;
    let capabilities = Rc::new(capabilities);
    let templates = templates(&chart, &values, release, capabilities).into_iter();
    let templates = templates.map(|template| Template {
        name: template.name,
        base_path: template.base_path.to_string(),
        text: template.text,
        values: template.values,
    });
    let mut lines = Lines::default();
    let mut rendered = Rendered::new();
    for file in engine.render(templates.collect())? {
        lines.0.insert(file.name.clone(), file.separators);
        rendered.insert(file.name, file.text);
    }
    let notes = manifest::take_notes(&mut rendered, chart.name(), wanted.sub_notes);
    let sorted = manifest::sort(&rendered, warnings).map_err(|error| ReleaseError::Manifest {
        line: lines.in_template(&error.path, &error.text).unwrap_or(1),
        error: Box::new(error),
    })?;
    let Sorted { manifests, hooks } = sorted;
    let crds = if wanted.crds {
        crds(&chart)?
    } else {
        Vec::new()
    };
    leave((chart, values, rendered));
    Ok(Output {
        crds,
        manifests,
        hooks,
        notes,
        lines,
    })
}

/// Makes the checks that the Helm command makes before it renders.
fn check_installable(chart: &Chart, warnings: &mut Warnings) -> Result<(), ReleaseError> {
    let kind = &chart.metadata.chart_type;
    if !matches!(kind.as_str(), "" | "application") {
        return Err(ReleaseError::NotInstallable(kind.clone()));
    }
    if chart.metadata.deprecated {
        warnings.add(format_args!("the chart {:?} is deprecated", chart.name()));
    }
    let missing = dependencies::missing(chart);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().map(str::to_owned).collect();
    Err(ReleaseError::Missing(missing))
}

fn check_kube_version(chart: &Chart, capabilities: &Capabilities) -> Result<(), ReleaseError> {
    let range = &chart.metadata.kube_version;
    // A chart without a range does not depend on the cluster's version.
    if range.is_empty() {
        return Ok(());
    }
    let found = capabilities.kube_version();
    if pintle_gosemver::matches(range, found.normalized()) {
        return Ok(());
    }
    Err(ReleaseError::KubeVersion {
        wanted: range.clone(),
        found: found.full().to_owned(),
    })
}

fn crds(chart: &Chart) -> Result<Vec<Manifest>, ReleaseError> {
    let mut found = Vec::new();
    for (path, file) in chart.crds() {
        let read = manifest::read_definitions(&path, &file.data);
        found.extend(read.map_err(|error| ReleaseError::Manifest {
            line: error.line,
            error: Box::new(error),
        })?);
    }
    Ok(found)
}
