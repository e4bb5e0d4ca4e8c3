//! Loading charts from folders and archives.

mod error;

use memchr::memmem;
use std::collections::BTreeMap;
use std::rc::Rc;

use pintle_gotemplate::Map;

use crate::{
    archive::{self, MAX_SIZE},
    chart::{Chart, File},
    ignore::Rules,
    lock::Lock,
    metadata::{Metadata, decode_lock},
    warning::Warnings,
    yaml,
};
pub use error::{Cause, LoadError};

/// The maximum nesting depth of charts. Helm has no limit because its stack grows, but a component's does not.
const MAX_DEPTH: usize = 32;

/// The formats of charts. The empty one is refused later as a missing field.
const API_VERSIONS: [&str; 3] = ["v1", "v2", ""];

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// The last part of the path.
    pub name: String,
    /// Whether the entry is a folder.
    pub is_folder: bool,
}

/// The folder from which a chart is loaded. Paths are relative to it, with `/` between the parts. The empty path is the folder
/// itself. Errors are messages.
pub trait Folder {
    /// Reads a file.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Lists a folder, sorted by name.
    fn list(&self, path: &str) -> Result<Vec<FolderEntry>, String>;
}

/// What to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the definitions in `crds/` are wanted.
    pub crds: bool,
    /// Whether all files are wanted even if no template of the chart and no value contains the word `Files`, because something
    /// else that templates see contains it.
    pub files: bool,
    /// Whether the folder is an unpacked archive. `.helmignore` was applied when it was packed, and is not applied again.
    pub packed: bool,
}

/// Loads a chart from a folder.
///
/// Files that only `.Files` could show are not read unless `Files` occurs in a template or in the values. Otherwise, a caller
/// that caches results by the files read would render again after every change of a README.
pub fn load_folder(
    folder: &dyn Folder,
    options: Options,
    warnings: &mut Warnings,
) -> Result<Chart, LoadError> {
    let mut charts = load_folders(&[(folder, options)], warnings)?;
    Ok(charts.swap_remove(0))
}

/// Loads charts whose templates can call each other. A template that shows `.Files` may be called with the files of any chart.
pub fn load_folders(
    folders: &[(&dyn Folder, Options)],
    warnings: &mut Warnings,
) -> Result<Vec<Chart>, LoadError> {
    let mut loaders = folders
        .iter()
        .map(|(folder, options)| Loader::walked(*folder, *options))
        .collect::<Result<Vec<_>, _>>()?;
    if !loaders.iter().any(Loader::wants_files) {
        let mut findings = Findings::new(warnings);
        let charts = assemble_all(&loaders, &mut findings)?;
        // Packed charts have now been searched, too. If only they show files, all charts are assembled again.
        if !findings.mentions_files || loaders.iter().all(|loader| loader.left.is_empty()) {
            return Ok(charts);
        }
    }
    for loader in &mut loaders {
        loader.read_what_is_left()?;
    }
    assemble_all(&loaders, &mut Findings::new(warnings))
}

/// Loads a packed chart.
pub fn load_archive(bytes: &[u8], warnings: &mut Warnings) -> Result<Chart, LoadError> {
    let mut budget = MAX_SIZE;
    let files = archive::unpack(bytes, &mut budget)
        .map_err(|error| LoadError::new("the archive", Cause::Archive(error)))?;
    assemble(files, &mut budget, &mut Findings::new(warnings), 0)
}

/// Loads only `Chart.yaml` and the lock file of a folder, to determine what must be fetched first.
pub fn load_metadata(
    folder: &dyn Folder,
    warnings: &mut Warnings,
) -> Result<(Metadata, Option<Lock>), LoadError> {
    const NAMES: [&str; 4] = [
        "Chart.yaml",
        "Chart.lock",
        "requirements.yaml",
        "requirements.lock",
    ];
    let mut files = Vec::new();
    let names = folder
        .list("")
        .map_err(|error| LoadError::new("the chart", Cause::Read(error)))?;
    for name in NAMES {
        if names.iter().any(|entry| entry.name == name) {
            files.push(read_file(folder, name, &mut MAX_SIZE.clone())?);
        }
    }
    let chart = assemble(files, &mut 0, &mut Findings::new(warnings), 0)?;
    Ok((chart.metadata, chart.lock))
}

/// Returns the names and versions of the charts in `charts/`, which need not be fetched.
pub fn vendored(folder: &dyn Folder) -> Result<Vec<(String, String)>, LoadError> {
    let top = folder
        .list("")
        .map_err(|error| LoadError::new("the chart", Cause::Read(error)))?;
    if !top
        .iter()
        .any(|entry| entry.name == "charts" && entry.is_folder)
    {
        return Ok(Vec::new());
    }
    let rules = rules(folder)?;
    let entries = folder
        .list("charts")
        .map_err(|error| LoadError::new("charts", Cause::Read(error)))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = format!("charts/{}", entry.name);
        if entry.name.starts_with(['_', '.']) || rules.ignores(&path, entry.is_folder) {
            continue;
        }
        let mut budget = MAX_SIZE;
        let metadata = if entry.is_folder {
            let file = read_file(folder, &format!("{path}/Chart.yaml"), &mut budget)?;
            metadata(&[File {
                name: "Chart.yaml".to_owned(),
                ..file
            }])
        } else if is_packed(&entry.name) {
            let packed = read_file(folder, &path, &mut budget)?;
            let files = archive::unpack(&packed.data, &mut budget)
                .map_err(|error| LoadError::new(&path, Cause::Archive(error)))?;
            metadata(&files)
        } else {
            continue;
        };
        let metadata = metadata.map_err(|error| error.within(&path))?;
        found.push((metadata.name, metadata.version));
    }
    Ok(found)
}

struct Loader<'a> {
    folder: &'a dyn Folder,
    options: Options,
    rules: Rules,
    budget: u64,
    files: Vec<File>,
    /// The paths of the files that have not been read.
    left: Vec<String>,
}

impl<'a> Loader<'a> {
    /// Reads the files that matter even if no template shows files.
    fn walked(folder: &'a dyn Folder, options: Options) -> Result<Self, LoadError> {
        let mut loader = Self {
            folder,
            options,
            rules: if options.packed {
                Rules::none()
            } else {
                rules(folder)?
            },
            budget: MAX_SIZE,
            files: Vec::new(),
            left: Vec::new(),
        };
        loader.walk("", 0)?;
        Ok(loader)
    }

    /// Returns whether all files are wanted, as far as this is known without unpacking anything.
    fn wants_files(&self) -> bool {
        self.options.files || self.files.iter().any(mentions_files)
    }

    fn read_what_is_left(&mut self) -> Result<(), LoadError> {
        for path in std::mem::take(&mut self.left) {
            let file = read_file(self.folder, &path, &mut self.budget)?;
            self.files.push(file);
        }
        // Restores the order in which all files would have been read at once.
        self.files
            .sort_by(|one, other| one.name.split('/').cmp(other.name.split('/')));
        Ok(())
    }

    fn walk(&mut self, path: &str, depth: usize) -> Result<(), LoadError> {
        if depth > 4 * MAX_DEPTH {
            return Err(LoadError::new(path, Cause::TooDeep));
        }
        let entries = self
            .folder
            .list(path)
            .map_err(|error| LoadError::new(path, Cause::Read(error)))?;
        for entry in entries {
            let path = if path.is_empty() {
                entry.name
            } else {
                format!("{path}/{}", entry.name)
            };
            if self.rules.ignores(&path, entry.is_folder) {
                continue;
            }
            if entry.is_folder {
                self.walk(&path, depth + 1)?;
            } else if is_needed(&path, self.options) {
                let file = read_file(self.folder, &path, &mut self.budget)?;
                self.files.push(file);
            } else {
                self.left.push(path);
            }
        }
        Ok(())
    }
}

fn read_file(folder: &dyn Folder, path: &str, budget: &mut u64) -> Result<File, LoadError> {
    let data = folder
        .read(path)
        .map_err(|error| LoadError::new(path, Cause::Read(error)))?;
    let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
    *budget = budget
        .checked_sub(size)
        .ok_or_else(|| LoadError::new(path, Cause::TooLarge))?;
    Ok(File {
        name: path.to_owned(),
        data: archive::without_mark(&data).into(),
    })
}

fn rules(folder: &dyn Folder) -> Result<Rules, LoadError> {
    const NAME: &str = ".helmignore";
    let names = folder
        .list("")
        .map_err(|error| LoadError::new("the chart", Cause::Read(error)))?;
    let text = if names.iter().any(|entry| entry.name == NAME) {
        folder
            .read(NAME)
            .map_err(|error| LoadError::new(NAME, Cause::Read(error)))?
    } else {
        Vec::new()
    };
    Rules::parse(&String::from_utf8_lossy(&text))
        .map_err(|error| LoadError::new(NAME, Cause::Ignore(error)))
}

/// Returns whether a file matters even if no template shows files.
fn is_needed(path: &str, options: Options) -> bool {
    let mut path = path;
    // For each leading charts/NAME/: what matters in a subchart is the same as in a chart.
    while let Some(inner) = path.strip_prefix("charts/") {
        match inner.split_once('/') {
            Some((_, rest)) => path = rest,
            None => return true,
        }
    }
    matches!(
        path,
        "Chart.yaml"
            | "Chart.lock"
            | "values.yaml"
            | "values.schema.json"
            | "requirements.yaml"
            | "requirements.lock"
    ) || path.starts_with("templates/")
        || (options.crds && path.starts_with("crds/"))
}

/// Returns whether a file from which templates are made contains the word `Files`.
fn mentions_files(file: &File) -> bool {
    !is_packed(&file.name) && contains(&file.data, b"Files")
}

/// Returns whether a file in `charts/` is a packed chart. As in Helm, the case of the extension matters.
fn is_packed(name: &str) -> bool {
    extension(name) == "tgz"
}

fn extension(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    memmem::find(text, word).is_some()
}

/// What is found while charts are assembled.
struct Findings<'a> {
    warnings: &'a mut Warnings,
    /// Whether a packed chart contains the word `Files` where templates come from.
    mentions_files: bool,
}

impl<'a> Findings<'a> {
    fn new(warnings: &'a mut Warnings) -> Self {
        Self {
            warnings,
            mentions_files: false,
        }
    }
}

/// Assembles one chart per loader from the files that the loader has read.
fn assemble_all(
    loaders: &[Loader<'_>],
    findings: &mut Findings<'_>,
) -> Result<Vec<Chart>, LoadError> {
    loaders
        .iter()
        .map(|loader| {
            assemble(
                loader.files.clone(),
                &mut loader.budget.clone(),
                findings,
                0,
            )
        })
        .collect()
}

/// Assembles a chart from its files. File names are relative to it.
fn assemble(
    files: Vec<File>,
    budget: &mut u64,
    findings: &mut Findings<'_>,
    depth: usize,
) -> Result<Chart, LoadError> {
    if depth > MAX_DEPTH {
        return Err(LoadError::new("charts", Cause::TooDeep));
    }
    let mut metadata = metadata(&files)?;
    // For charts in charts/, Helm only requires that they have one.
    if depth == 0 && !API_VERSIONS.contains(&metadata.api_version.as_str()) {
        let cause = Cause::ApiVersion(metadata.api_version);
        return Err(LoadError::new("Chart.yaml", cause));
    }
    let v1 = metadata.api_version == "v1";
    let mut values = Map::new();
    let (mut lock, mut schema) = (None, None);
    let (mut templates, mut others) = (Vec::new(), Vec::new());
    let mut subcharts: BTreeMap<String, Vec<File>> = BTreeMap::new();
    for file in files {
        match file.name.as_str() {
            "Chart.yaml" => {}
            "Chart.lock" => lock = Some(read_lock(&file)?),
            "requirements.lock" => {
                lock = Some(read_lock(&file)?);
                if v1 {
                    others.push(file);
                }
            }
            "requirements.yaml" => {
                if !v1 {
                    findings.warnings.add(format_args!(
                        "{}: requirements.yaml is of charts with apiVersion v1; newer ones have their dependencies in Chart.yaml",
                        metadata.name
                    ));
                }
                let read = yaml::read_written(&file.data).map_err(Cause::from);
                let read = read.and_then(|document| Ok(metadata.read(&document)?));
                read.map_err(|cause| LoadError::new(&file.name, cause))?;
                if metadata.api_version == "v1" {
                    others.push(file);
                }
            }
            "values.yaml" => {
                values = yaml::read_values(&file.data)
                    .map_err(|error| LoadError::new(&file.name, Cause::Yaml(error)))?;
            }
            "values.schema.json" => schema = Some(file.data),
            name if name.starts_with("templates/") => templates.push(file),
            name if name.starts_with("charts/") && extension(name) != "prov" => {
                let inner = name["charts/".len()..].to_owned();
                let chart = inner.split('/').next().unwrap_or_default().to_owned();
                let file = File {
                    name: inner,
                    data: file.data,
                };
                subcharts.entry(chart).or_default().push(file);
            }
            _ => others.push(file),
        }
    }
    metadata
        .validate()
        .map_err(|error| LoadError::new("Chart.yaml", Cause::Metadata(error)))?;
    let mut dependencies = Vec::new();
    for (name, files) in subcharts {
        if !name.starts_with(['_', '.']) {
            let subchart = subchart(&name, files, budget, findings, depth)
                .map_err(|error| error.within(&format!("charts/{name}")))?;
            dependencies.push(subchart);
        }
    }
    Ok(Chart {
        metadata,
        lock,
        values,
        schema,
        templates: Rc::from(templates),
        files: Rc::from(others),
        dependencies,
        kept_path: None,
    })
}

/// Loads a chart in `charts/` from a folder or an archive.
fn subchart(
    name: &str,
    mut files: Vec<File>,
    budget: &mut u64,
    findings: &mut Findings<'_>,
    depth: usize,
) -> Result<Chart, LoadError> {
    if is_packed(name) {
        let packed = files.swap_remove(0);
        if packed.name != name {
            return Err(LoadError::new("", Cause::FolderNamedArchive));
        }
        let files = archive::unpack(&packed.data, budget)
            .map_err(|error| LoadError::new("", Cause::Archive(error)))?;
        // All files are available, but templates come only from those that would have been read from a folder.
        findings.mentions_files |= files
            .iter()
            .filter(|file| is_needed(&file.name, Options::default()))
            .any(mentions_files);
        return assemble(files, budget, findings, depth + 1);
    }
    let files = files.into_iter().filter_map(|file| {
        let (_, inner) = file.name.split_once('/')?;
        Some(File {
            name: inner.to_owned(),
            data: file.data,
        })
    });
    assemble(files.collect(), budget, findings, depth + 1)
}

/// Reads `Chart.yaml` from the files of a chart.
fn metadata(files: &[File]) -> Result<Metadata, LoadError> {
    let mut metadata = None;
    for file in files.iter().filter(|file| file.name == "Chart.yaml") {
        let read = metadata.get_or_insert_with(Metadata::default);
        let document = yaml::read_written(&file.data)
            .map_err(|error| LoadError::new("Chart.yaml", Cause::Yaml(error)))?;
        read.read(&document)
            .map_err(|error| LoadError::new("Chart.yaml", Cause::Decode(error)))?;
        if read.api_version.is_empty() {
            // Helm 2 had no API versions.
            "v1".clone_into(&mut read.api_version);
        }
    }
    metadata.ok_or_else(|| LoadError::new("Chart.yaml", Cause::NoMetadata))
}

fn read_lock(file: &File) -> Result<Lock, LoadError> {
    let document = yaml::read_written(&file.data)
        .map_err(|error| LoadError::new(&file.name, Cause::Yaml(error)))?;
    decode_lock(&document).map_err(|error| LoadError::new(&file.name, Cause::Decode(error)))
}

#[cfg(test)]
mod tests;
