//! What must be fetched before a chart can be rendered: the chart itself, or the dependencies that are not in `charts/`.

use pintle_gosemver::{Constraint, Version};
use pintle_helm_chart::{Dependency, Lock, Warnings, load_metadata, vendored};
use pintle_sdk::{Chart, Failure, Position, Problem, Remote, Source, Tree};

use crate::{
    folder::HostFolder,
    problem,
    settings::{ChartSource, Settings},
};

/// A dependency that is not in `charts/`.
pub(crate) struct Wanted {
    dependency: Dependency,
    /// The version; empty for a folder, which determines its own version.
    version: String,
    source: Source,
}

impl Wanted {
    /// Returns whether the dependency comes as a package, not as a folder of the same revision.
    pub(crate) fn is_packed(&self) -> bool {
        !matches!(self.source, Source::Folder(_))
    }
}

/// Returns the sources that must be fetched.
pub(crate) fn sources(settings: &Settings, folder: &dyn Tree) -> Result<Vec<Source>, Failure> {
    if let Some(chart) = &settings.chart {
        return Ok(vec![chart_source(chart)]);
    }
    let wanted = wanted(folder)?;
    Ok(wanted.into_iter().map(|one| one.source).collect())
}

/// Returns the dependencies that are not in `charts/`, in the order of `Chart.yaml`, each with its source.
pub(crate) fn wanted(folder: &dyn Tree) -> Result<Vec<Wanted>, Failure> {
    let folder = HostFolder(folder);
    let refused = |error| Failure::from(problem::of_load(&error));
    let (metadata, lock) = load_metadata(&folder, &mut Warnings::default()).map_err(refused)?;
    let mut dependencies = metadata.dependencies.iter();
    if dependencies.all(|one| one.repository.is_empty()) {
        // Nothing can be fetched, so the contents of `charts/` do not matter here. The render reports what is missing.
        return Ok(Vec::new());
    }
    let there = vendored(&folder).map_err(refused)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut problems = Vec::new();
    for dependency in &metadata.dependencies {
        // Helm, too, compares only the name.
        if there.iter().any(|(name, _)| *name == dependency.name)
            || dependency.repository.is_empty()
            // A chart may be required several times under different names.
            || wanted.iter().any(|known| same(&known.dependency, dependency))
        {
            continue;
        }
        match one(dependency, lock.as_ref()) {
            Ok(one) => wanted.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    if wanted.iter().any(Wanted::is_packed)
        && let Some(lock) = &lock
        && !lock.is_of(&metadata)
    {
        problems.push(out_of_sync());
    }
    if problems.is_empty() {
        Ok(wanted)
    } else {
        Err(problems.into())
    }
}

fn out_of_sync() -> Problem {
    Problem::new("the lock file (Chart.lock) is out of sync with the dependencies in Chart.yaml")
        .position(Position::new("Chart.lock", 1, 1))
        .hint("commit the Chart.lock that `helm dependency update` writes")
}

fn same(one: &Dependency, other: &Dependency) -> bool {
    one.name == other.name && one.version == other.version && one.repository == other.repository
}

/// Determines the source of a dependency.
fn one(dependency: &Dependency, lock: Option<&Lock>) -> Result<Wanted, Problem> {
    let (version, source) = if let Some(path) = dependency.repository.strip_prefix("file://") {
        check_range(dependency)?;
        (String::new(), Source::Folder(path.to_owned()))
    } else {
        let version = version(dependency, lock)?;
        let source = remote(&dependency.repository, &dependency.name, &version, None);
        (version, source)
    };
    Ok(Wanted {
        dependency: dependency.clone(),
        version,
        source,
    })
}

/// Checks that there is a version range. Without one, no folder is the right one; Helm also refuses to fetch such a dependency.
fn check_range(dependency: &Dependency) -> Result<(), Problem> {
    let Err(error) = Constraint::parse(dependency.version.as_bytes()) else {
        return Ok(());
    };
    Err(Problem::new(format!(
        "dependency {:?} has an invalid version/constraint format: {error}",
        dependency.name
    ))
    .position(Position::new("Chart.yaml", 1, 1))
    .hint("write a range of versions such as `^1.2`, or `*` for any"))
}

/// Returns the version that `Chart.lock` pins, or the exact version in `Chart.yaml`.
fn version(dependency: &Dependency, lock: Option<&Lock>) -> Result<String, Problem> {
    if let Some(locked) = lock.and_then(|lock| lock.pinned(dependency)) {
        return Ok(locked.version.clone());
    }
    // `1.2` is a range, just as `^1.2` is.
    let is_exact = dependency
        .version
        .split(['-', '+'])
        .next()
        .is_some_and(|numbers| {
            numbers.matches('.').count() == 2
                && Version::parse(dependency.version.as_bytes()).is_ok()
        });
    if is_exact {
        return Ok(dependency.version.clone());
    }
    let (name, version) = (&dependency.name, &dependency.version);
    Err(Problem::new(format!(
        "the dependency {name:?} has the version {version:?}, and no Chart.lock pins an exact one"
    ))
    .position(Position::new("Chart.yaml", 1, 1))
    .hint("commit the Chart.lock that `helm dependency update` writes"))
}

fn chart_source(chart: &ChartSource) -> Source {
    if let Some(oci) = &chart.oci {
        return Source::Oci(Remote {
            reference: format!("{oci}:{}", tag(&chart.version)),
            digest: chart.digest.clone(),
        });
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (repository, name) = (text(&chart.repository), text(&chart.name));
    remote(&repository, &name, &chart.version, chart.digest.clone())
}

fn remote(repository: &str, name: &str, version: &str, digest: Option<String>) -> Source {
    if repository.starts_with("oci://") {
        let repository = repository.trim_end_matches('/');
        return Source::Oci(Remote {
            reference: format!("{repository}/{name}:{}", tag(version)),
            digest,
        });
    }
    Source::Chart(Chart {
        repository: repository.to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        digest,
    })
}

/// Converts a version to a tag, which cannot contain `+`. Helm uses the same form ("Use OCI-based registries").
fn tag(version: &str) -> String {
    version.replace('+', "_")
}

/// Checks that the fetched chart is the requested one.
pub(crate) fn check(wanted: &Wanted, fetched: &pintle_helm_chart::Chart) -> Result<(), Problem> {
    let dependency = &wanted.dependency;
    let (name, found) = (fetched.name(), fetched.metadata.version.as_str());
    let is_right = if wanted.version.is_empty() {
        pintle_gosemver::matches(&dependency.version, found)
    } else {
        same_version(&wanted.version, found)
    };
    if name == dependency.name && is_right {
        return Ok(());
    }
    let version = if wanted.version.is_empty() {
        &dependency.version
    } else {
        &wanted.version
    };
    Err(Problem::new(format!(
        "the dependency {:?} of version {version:?} was fetched from {}, but the chart there is {name:?} of version {found:?}",
        dependency.name, dependency.repository
    ))
    .position(Position::new("Chart.yaml", 1, 1)))
}

/// Compares two versions, either of which may begin with a `v`.
fn same_version(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.strip_prefix('v').unwrap_or(text).to_owned();
    plain(one) == plain(other)
}

/// The host provided less than was requested.
pub(crate) fn not_given() -> Failure {
    Failure::refused("the host did not provide what was requested to render the chart")
}
