//! Determines which subcharts are used, under which names, and which of their values the parent chart imports.

use pintle_gotemplate::{Map, Type, Value, print};

use crate::{
    chart::Chart,
    metadata::Dependency,
    values::{
        at_path,
        coalesce::{CoalesceError, Nulls, coalesce, merge_tables},
        deep_copy, noun, put, table,
    },
    warning::Warnings,
};

/// Returns the names of the dependencies in `Chart.yaml` that have no chart in `charts/`.
pub fn missing(chart: &Chart) -> Vec<&str> {
    let there = |name: &str| chart.dependencies.iter().any(|one| one.name() == name);
    let needed = chart.metadata.dependencies.iter();
    needed
        .map(|one| one.name.as_str())
        .filter(|name| !there(name))
        .collect()
}

/// Removes the subcharts that tags and conditions disable, gives the others their aliases, and imports values.
///
/// `values` are the user's.
pub fn process(
    chart: &mut Chart,
    values: &Map,
    warnings: &mut Warnings,
) -> Result<(), CoalesceError> {
    let place = chart.path(None);
    select(chart, values, "", &place, warnings)?;
    import(chart, warnings)
}

/// Selects the subcharts of a chart. `path` is where the chart's values are in `values`, with a trailing dot. `place` is the
/// chart's own path of names.
fn select(
    chart: &mut Chart,
    values: &Map,
    path: &str,
    place: &str,
    warnings: &mut Warnings,
) -> Result<(), CoalesceError> {
    // If a chart specifies no dependencies at all, nothing below it is disabled. An empty list counts as specified.
    if !chart.metadata.has_dependencies {
        return Ok(());
    }
    chart.dependencies = named(
        std::mem::take(&mut chart.dependencies),
        &mut chart.metadata.dependencies,
        place,
    );
    for dependency in &mut chart.metadata.dependencies {
        dependency.enabled = true;
    }
    let values = coalesce(chart, values, Nulls::Remove, warnings)?;
    for dependency in &mut chart.metadata.dependencies {
        by_tags(dependency, &values, warnings);
        by_condition(dependency, &values, path, warnings);
    }
    let disabled: Vec<String> = chart
        .metadata
        .dependencies
        .iter()
        .filter(|dependency| !dependency.enabled)
        .map(|dependency| dependency.name.clone())
        .collect();
    let used = |name: &String| !disabled.contains(name);
    chart.dependencies.retain(|one| used(&one.metadata.name));
    chart.metadata.dependencies.retain(|one| used(&one.name));
    chart.metadata.has_dependencies = !chart.metadata.dependencies.is_empty();
    for subchart in &mut chart.dependencies {
        let path = format!("{path}{}.", subchart.metadata.name);
        let place = subchart.path(Some(place));
        select(subchart, &values, &path, &place, warnings)?;
    }
    Ok(())
}

/// Returns the subcharts by their names in `Chart.yaml`: first the ones that it does not name, then one for each dependency that
/// has a chart of the right version. `place` is the path of names of the parent chart.
fn named(charts: Vec<Chart>, dependencies: &mut [Dependency], place: &str) -> Vec<Chart> {
    let meets = |dependency: &Dependency, chart: &Chart| {
        chart.name() == dependency.name
            && pintle_gosemver::matches(&dependency.version, &chart.metadata.version)
    };
    let mut result: Vec<Chart> = charts
        .iter()
        .filter(|chart| !dependencies.iter().any(|one| meets(one, chart)))
        .cloned()
        .collect();
    for chart in &mut result {
        chart.kept_path = None;
    }
    for dependency in dependencies {
        if let Some(chart) = charts.iter().find(|chart| meets(dependency, chart)) {
            let mut chart = chart.clone();
            keep_paths(&mut chart, place);
            if !dependency.alias.is_empty() {
                chart.metadata.name.clone_from(&dependency.alias);
            }
            result.push(chart);
        }
        if !dependency.alias.is_empty() {
            dependency.name.clone_from(&dependency.alias);
        }
    }
    result
}

/// Sets the paths of names in a copy of a chart as Helm does: charts two levels below keep theirs. See [`Chart::path`].
fn keep_paths(copy: &mut Chart, place: &str) {
    let path = copy.path(Some(place));
    for child in &mut copy.dependencies {
        let path = child.path(Some(&path));
        for inner in &mut child.dependencies {
            inner.kept_path = Some(inner.path(Some(&path)));
        }
        child.kept_path = None;
    }
    copy.kept_path = None;
}

/// One true tag is enough to enable a dependency. If there is none, one false tag disables it.
fn by_tags(dependency: &mut Dependency, values: &Map, warnings: &mut Warnings) {
    let Some(tags) = table(values, "tags") else {
        return;
    };
    let (mut any_true, mut any_false) = (false, false);
    for tag in &dependency.tags {
        match tags.get(tag.as_bytes()) {
            None => {}
            Some(Value::Bool(true)) => any_true = true,
            Some(Value::Bool(false)) => any_false = true,
            Some(other) => warnings.add(format_args!(
                "the tag {tag:?} of the chart {:?} is {} rather than a boolean, and is not considered",
                dependency.name,
                noun(&other)
            )),
        }
    }
    dependency.enabled = any_true || !any_false;
}

/// The first path that leads to a boolean decides.
fn by_condition(dependency: &mut Dependency, values: &Map, path: &str, warnings: &mut Warnings) {
    for condition in dependency.condition.trim().split(',') {
        if condition.is_empty() {
            continue;
        }
        match at_path(values, &format!("{path}{condition}")) {
            None => {}
            Some(Value::Bool(enabled)) => {
                dependency.enabled = enabled;
                return;
            }
            Some(other) => warnings.add(format_args!(
                "the condition {condition:?} of the chart {:?} is {} rather than a boolean, and is not considered",
                dependency.name,
                noun(&other)
            )),
        }
    }
}

/// Imports the values that `import-values` names, from the innermost charts up.
fn import(chart: &mut Chart, warnings: &mut Warnings) -> Result<(), CoalesceError> {
    for subchart in &mut chart.dependencies {
        import(subchart, warnings)?;
    }
    if !chart.metadata.has_dependencies {
        return Ok(());
    }
    let all = coalesce(chart, &Map::new(), Nulls::Keep, warnings)?;
    let imported = Map::new();
    for dependency in &mut chart.metadata.dependencies {
        let wanted = std::mem::take(&mut dependency.import_values);
        for item in wanted {
            let Some((child, parent)) = mapping(&item) else {
                continue;
            };
            match table(&all, &format!("{}.{child}", dependency.name)) {
                Some(found) => {
                    // As in Helm, values that other subcharts import into the same place do not end up in this subchart's empty
                    // table.
                    let found = if found.is_empty() { Map::new() } else { found };
                    let placed = at(&parent, found);
                    merge_tables(&imported, &placed, warnings);
                }
                None => warnings.add(format_args!(
                    "the chart {:?} has no table {child:?} among its values to import",
                    dependency.name
                )),
            }
            dependency.import_values.push(as_strings(&child, &parent));
        }
    }
    chart.values = if imported.is_empty() {
        all
    } else {
        // The copy keeps imported values separate from their origin.
        let all = deep_copy(&all);
        merge_tables(&all, &imported, warnings);
        all
    };
    Ok(())
}

/// Returns the paths that an item of `import-values` names: in the subchart, and in the parent chart.
fn mapping(item: &Value) -> Option<(String, String)> {
    match item {
        Value::String(name) => Some((format!("exports.{name}"), ".".to_owned())),
        Value::Map(paths) => {
            let path = |key: &[u8]| {
                let value = paths.get(key).unwrap_or_default();
                let text = print::value(&value).unwrap_or_default();
                text.to_string()
            };
            Some((path(b"child"), path(b"parent")))
        }
        _ => None,
    }
}

/// Returns what templates see of an item of `import-values`.
fn as_strings(child: &str, parent: &str) -> Value {
    let entries = [
        ("child".into(), child.into()),
        ("parent".into(), parent.into()),
    ];
    Map::with_entries(Type::STRING_MAP, entries.into_iter().collect()).into()
}

/// The maximum number of tables that `import-values` may put around what it imports.
const MAX_PARENTS: usize = 100;

/// Wraps a table in a dot-separated path of keys. `.` is the top.
fn at(path: &str, inner: Map) -> Map {
    if path == "." {
        return inner;
    }
    let keys: Vec<&str> = path.splitn(MAX_PARENTS, '.').collect();
    keys.into_iter().rev().fold(inner, |inner, key| {
        let outer = Map::new();
        put(&outer, key, inner.into());
        outer
    })
}

#[cfg(test)]
mod tests;
