//! What has to be fetched before a chart can be rendered: the chart itself, or the dependencies that are not in `charts/`.

use pintle_helm_chart::{
    Dependency, Lock, Warnings, load_metadata,
    semver::{self, Version},
    vendored,
};
use pintle_sdk::{Chart, Failure, Position, Problem, Remote, Source, Tree};

use crate::{
    folder::HostFolder,
    problem,
    settings::{ChartSource, Settings},
};

/// Names what has to be fetched.
pub(crate) fn sources(settings: &Settings, folder: &dyn Tree) -> Result<Vec<Source>, Failure> {
    if let Some(chart) = &settings.chart {
        return Ok(vec![chart_source(chart)]);
    }
    let wanted = wanted(folder)?;
    Ok(wanted.into_iter().map(|(_, source)| source).collect())
}

/// The dependencies that are not in `charts/`, in the order of `Chart.yaml`, each with where it is to be had.
pub(crate) fn wanted(folder: &dyn Tree) -> Result<Vec<(Dependency, Source)>, Failure> {
    let folder = HostFolder(folder);
    let refused = |error| Failure::from(problem::of_load(&error));
    let (metadata, lock) = load_metadata(&folder, &mut Warnings::default()).map_err(refused)?;
    if metadata.dependencies.is_empty() {
        return Ok(Vec::new());
    }
    let there = vendored(&folder).map_err(refused)?;
    let mut wanted = Vec::new();
    let mut problems = Vec::new();
    for dependency in metadata.dependencies {
        // Helm looks for the name alone, too.
        if there.iter().any(|(name, _)| *name == dependency.name)
            || dependency.repository.is_empty()
        {
            continue;
        }
        // A chart may be wanted several times, under other names.
        if wanted
            .iter()
            .any(|(known, _): &(Dependency, _)| same(known, &dependency))
        {
            continue;
        }
        match source(&dependency, lock.as_ref()) {
            Ok(source) => wanted.push((dependency, source)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(wanted)
    } else {
        Err(problems.into())
    }
}

fn same(one: &Dependency, other: &Dependency) -> bool {
    one.name == other.name && one.version == other.version && one.repository == other.repository
}

/// Where a dependency is to be had.
fn source(dependency: &Dependency, lock: Option<&Lock>) -> Result<Source, Problem> {
    if let Some(path) = dependency.repository.strip_prefix("file://") {
        return Ok(Source::Folder(path.to_owned()));
    }
    let version = version(dependency, lock)?;
    Ok(remote(
        &dependency.repository,
        &dependency.name,
        &version,
        None,
    ))
}

/// The version that `Chart.lock` pins, or that `Chart.yaml` names exactly.
fn version(dependency: &Dependency, lock: Option<&Lock>) -> Result<String, Problem> {
    let locked = lock.and_then(|lock| {
        let mut pinned = lock.dependencies.iter();
        pinned.find(|one| one.name == dependency.name && one.repository == dependency.repository)
    });
    if let Some(locked) = locked {
        return Ok(locked.version.clone());
    }
    // `1.2` is a range, as `^1.2` is.
    let is_exact = dependency
        .version
        .split(['-', '+'])
        .next()
        .is_some_and(|numbers| {
            numbers.matches('.').count() == 2 && Version::parse(&dependency.version).is_some()
        });
    if is_exact {
        return Ok(dependency.version.clone());
    }
    let (name, version) = (&dependency.name, &dependency.version);
    Err(Problem::new(format!(
        "the dependency {name:?} has the version {version:?}, and no Chart.lock says which one that is"
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

/// A version as a tag, which cannot have `+`; Helm writes it so ("Use OCI-based registries").
fn tag(version: &str) -> String {
    version.replace('+', "_")
}

/// Checks that what was fetched is what was asked for.
pub(crate) fn check(
    wanted: &Dependency,
    fetched: &pintle_helm_chart::Chart,
) -> Result<(), Problem> {
    let (name, version) = (fetched.name(), &fetched.metadata.version);
    if name == wanted.name && semver::matches(&wanted.version, version) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "the dependency {:?} of version {:?} was fetched from {}, and there is {name:?} of version {version:?}",
        wanted.name, wanted.version, wanted.repository
    ))
    .position(Position::new("Chart.yaml", 1, 1)))
}

/// The host has given less than was asked for.
pub(crate) fn not_given() -> Failure {
    Failure::refused("the host has not given what was asked for to render the chart")
}
