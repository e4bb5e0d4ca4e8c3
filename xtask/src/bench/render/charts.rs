//! The charts that are rendered.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Programs, output};

/// The number of charts below the umbrella chart.
const BELOW: usize = 25;
/// The number of definitions, and of the properties in each: about a megabyte of YAML.
const DEFINITIONS: usize = 20;
const PROPERTIES: usize = 400;

/// One chart.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

/// Creates the charts that are always measured, and adds those that were named.
pub(super) fn subjects(programs: &Programs, dir: &Path, named: &[PathBuf]) -> Result<Vec<Subject>> {
    let dir = dir.join("charts");
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let mut subjects = vec![
        Subject {
            name: "what `helm create` makes".to_owned(),
            folder: create(programs, &dir, "created")?,
        },
        Subject {
            name: format!("an umbrella over {BELOW} of them"),
            folder: umbrella(programs, &dir)?,
        },
        Subject {
            name: format!("{DEFINITIONS} large definitions"),
            folder: definitions(&dir)?,
        },
    ];
    for folder in named {
        let folder = folder
            .canonicalize()
            .with_context(|| format!("{} is no folder of a chart", folder.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        subjects.push(Subject {
            name: name.into_owned(),
            folder,
        });
    }
    Ok(subjects)
}

fn create(programs: &Programs, dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = dir.join(name);
    let mut command = programs.command(&programs.helm);
    command.arg("create").arg(&folder);
    output(command)?;
    Ok(folder)
}

fn umbrella(programs: &Programs, dir: &Path) -> Result<PathBuf> {
    let folder = dir.join("umbrella");
    let below = folder.join("charts");
    let mut metadata = chart("umbrella") + "dependencies:\n";
    let mut values = "global: {tier: bench}\n".to_owned();
    write(&folder, "templates/NOTES.txt", "{{ .Release.Name }}\n")?;
    fs::create_dir_all(&below).with_context(|| format!("make {}", below.display()))?;
    for index in 0..BELOW {
        let name = format!("service-{index:02}");
        create(programs, &below, &name)?;
        let _ = writeln!(
            metadata,
            "- {{name: {name}, version: 0.1.0, condition: {name}.enabled}}"
        );
        let _ = writeln!(
            values,
            "{name}:\n  enabled: true\n  ingress: {{enabled: true}}\n  autoscaling: {{enabled: true}}"
        );
    }
    write(&folder, "Chart.yaml", &metadata)?;
    write(&folder, "values.yaml", &values)?;
    Ok(folder)
}

fn definitions(dir: &Path) -> Result<PathBuf> {
    let folder = dir.join("definitions");
    write(&folder, "Chart.yaml", &chart("definitions"))?;
    write(&folder, "values.yaml", "labels: {team: bench}\n")?;
    for index in 0..DEFINITIONS {
        let mut text = format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  \
             name: kind{index}s.bench.example.com\n  labels:\n    {{{{- toYaml .Values.labels | nindent 4 }}}}\n\
             spec:\n  group: bench.example.com\n  scope: Namespaced\n  \
             names: {{kind: Kind{index}, plural: kind{index}s}}\n  versions:\n  - name: v1\n    served: true\n    \
             storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties:\n"
        );
        for property in 0..PROPERTIES {
            let _ = writeln!(
                text,
                "          property{property}:\n            type: string\n            \
                 description: What the property number {property} is for, in a sentence of some length.\n            \
                 maxLength: {property}"
            );
        }
        write(&folder, &format!("templates/kind{index}.yaml"), &text)?;
    }
    Ok(folder)
}

fn chart(name: &str) -> String {
    format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n")
}

fn write(folder: &Path, path: &str, text: &str) -> Result<()> {
    let path = folder.join(path);
    let parent = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
