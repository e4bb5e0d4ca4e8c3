//! Charts in memory.

use std::rc::Rc;

use pintle_gotemplate::{Map, Text};

use crate::{lock::Lock, metadata::Metadata};

/// A file of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path in the chart, with `/` between the parts.
    pub name: String,
    /// The content, without a byte order mark.
    pub data: Text,
}

/// A chart with its subcharts.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The content of `Chart.yaml` (and of `requirements.yaml` in old charts).
    pub metadata: Metadata,
    /// The dependencies that `Chart.lock` (or `requirements.lock`) pins, if there is one.
    pub lock: Option<Lock>,
    /// The content of `values.yaml`. It is replaced when dependencies are processed.
    pub values: Map,
    /// The content of `values.schema.json`.
    pub schema: Option<Text>,
    /// The files below `templates/`, in the order of their paths.
    pub templates: Rc<[File]>,
    /// The other files, without those of subcharts.
    pub files: Rc<[File]>,
    /// The subcharts.
    pub dependencies: Vec<Chart>,
    /// The path of names that the chart keeps although it has moved. Usually there is none. See [`Chart::path`].
    pub(crate) kept_path: Option<String>,
}

impl Chart {
    /// Returns the name, or the alias under which another chart depends on this one.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Returns the path of names under which the chart's templates are: `web/charts/db`. `above` is the path of the enclosing
    /// chart.
    ///
    /// When a chart is used under an alias, Helm copies it and the charts in it, but no deeper ones. Those still refer to the
    /// original charts as the enclosing ones, and therefore to the old name.
    pub(crate) fn path(&self, above: Option<&str>) -> String {
        match (&self.kept_path, above) {
            (Some(path), _) => path.clone(),
            (None, Some(above)) => format!("{above}/charts/{}", self.name()),
            (None, None) => self.name().to_owned(),
        }
    }

    /// Returns whether the chart only has definitions for other charts.
    pub fn is_library(&self) -> bool {
        self.metadata.chart_type.eq_ignore_ascii_case("library")
    }

    /// Returns the definitions in `crds/` of this chart and its subcharts: the path below the root chart's name, and the file.
    pub fn crds(&self) -> Vec<(String, &File)> {
        let mut found = Vec::new();
        self.collect_crds(self.name(), &mut found);
        found
    }

    fn collect_crds<'a>(&'a self, path: &str, found: &mut Vec<(String, &'a File)>) {
        let own = self.files.iter().filter(|file| is_crd(&file.name));
        found.extend(own.map(|file| (format!("{path}/{}", file.name), file)));
        for subchart in &self.dependencies {
            subchart.collect_crds(&subchart.path(Some(path)), found);
        }
    }
}

fn is_crd(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
    name.starts_with("crds/")
        && ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
}
