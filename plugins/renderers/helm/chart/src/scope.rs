//! What each template of a chart sees.

use std::{collections::BTreeMap, rc::Rc};

use pintle_gotemplate::{Map, Object, Text, Type, Value};

use crate::{
    capabilities::Capabilities,
    chart::Chart,
    files::files,
    release::Release,
    values::{VALUES, put, table},
};

/// A template with what it sees.
#[derive(Clone, Debug)]
pub struct Template {
    /// The path under which others call it: `web/charts/db/templates/_names.tpl`.
    pub name: String,
    /// The folder of the templates of its chart: `web/charts/db/templates`.
    pub base_path: Rc<str>,
    /// The text.
    pub text: Text,
    /// What the template sees: one table for all templates of a chart. The key `Template`, which names the template being
    /// executed, must still be set.
    pub values: Map,
}

pub(crate) fn is_partial(path: &str) -> bool {
    let last = path.rsplit('/').next();
    last.is_some_and(|last| last.starts_with('_'))
}

/// Returns all templates of a chart and its subcharts, by name.
///
/// `values` are the chart's fully combined values.
pub fn templates(
    chart: &Chart,
    values: &Map,
    release: &Release,
    capabilities: Rc<Capabilities>,
) -> Vec<Template> {
    let capabilities: Rc<dyn Object> = capabilities;
    let world = World {
        release: release.to_map().into(),
        capabilities: Value::Object(capabilities),
    };
    let root = values.converted(Type::Named(&VALUES));
    let mut found = BTreeMap::new();
    collect(chart, None, root, &world, &mut found);
    found.into_values().collect()
}

/// What all charts see in the same way.
struct World {
    release: Value,
    capabilities: Value,
}

/// Adds the templates of a chart and its subcharts. Returns what the chart's templates see.
fn collect(
    chart: &Chart,
    parent: Option<&str>,
    values: Map,
    world: &World,
    found: &mut BTreeMap<String, Template>,
) -> Map {
    let path = chart.path(parent);
    let about = chart.metadata.to_map();
    put(&about, "IsRoot", parent.is_none().into());
    let subcharts = Map::new();
    let scope = Map::typed(Type::Named(&VALUES));
    put(&scope, "Chart", about.into());
    put(&scope, "Files", files(&chart.files).into());
    put(&scope, "Release", world.release.clone());
    put(&scope, "Capabilities", world.capabilities.clone());
    put(&scope, "Values", values.clone().into());
    put(&scope, "Subcharts", subcharts.clone().into());
    for subchart in &chart.dependencies {
        // Helm treats the name as a path, so a chart whose name has a dot does not see its values.
        let inner = match table(&values, subchart.name()) {
            Some(inner) => inner.converted(Type::Named(&VALUES)),
            None => Map::typed(Type::Named(&VALUES)),
        };
        let inner = collect(subchart, Some(&path), inner, world, found);
        // As in Helm, the parent chart sees this as a plain map. The subchart's own templates see a table of values.
        put(
            &subcharts,
            subchart.name(),
            inner.converted(Type::ANY_MAP).into(),
        );
    }
    let base_path: Rc<str> = format!("{path}/templates").into();
    for file in chart.templates.iter() {
        // A library chart only defines templates.
        if chart.is_library() && !is_partial(&file.name) {
            continue;
        }
        let name = format!("{path}/{}", file.name);
        let template = Template {
            name: name.clone(),
            base_path: base_path.clone(),
            text: file.data.clone(),
            values: scope.clone(),
        };
        found.insert(name, template);
    }
    scope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capabilities::HelmDefaults, chart::File, metadata::Metadata, yaml::read_values};

    /// Returns a chart with one template.
    fn chart(name: &str, dependencies: Vec<Chart>) -> Chart {
        Chart {
            metadata: Metadata {
                name: name.to_owned(),
                ..Metadata::default()
            },
            lock: None,
            values: Map::new(),
            schema: None,
            templates: Rc::from([File {
                name: "templates/t".to_owned(),
                data: "".into(),
            }]),
            files: Rc::from([]),
            dependencies,
            kept_path: None,
        }
    }

    /// Returns what the template of a chart sees.
    fn seen(chart: &Chart, values: &str, path: &str) -> Map {
        let values = read_values(values.as_bytes()).expect("good YAML");
        let release = Release {
            name: "r".to_owned(),
            namespace: "n".to_owned(),
            is_upgrade: false,
        };
        let capabilities = Rc::new(Capabilities::new(HelmDefaults));
        let templates = templates(chart, &values, &release, capabilities).into_iter();
        let mut found = templates.filter(|template| template.name == path);
        found.next().expect("a template of that name").values
    }

    #[test]
    fn a_name_is_a_path_of_values() {
        let top = chart("top", vec![chart("a.b", vec![])]);
        let of = |values: &str| {
            let seen = seen(&top, values, "top/charts/a.b/templates/t");
            seen.get(b"Values")
        };
        assert_eq!(
            of("a.b: {x: 1}"),
            Some(Map::typed(Type::Named(&VALUES)).into())
        );
        let values = of("{a.b: {x: 1}, a: {b: {z: 2}}}").unwrap_or_default();
        assert_eq!(values.as_map().map(Map::keys), Some(vec![Text::from("z")]));
    }

    #[test]
    fn what_subcharts_see_is_a_plain_map_from_above_and_the_same() {
        let top = chart("top", vec![chart("kid", vec![])]);
        let subcharts = seen(&top, "", "top/templates/t").get(b"Subcharts");
        let kid = subcharts.as_ref().and_then(Value::as_map);
        let kid = kid.and_then(|subcharts| subcharts.get(b"kid"));
        let kid = kid.as_ref().and_then(Value::as_map).expect("a map");
        assert_eq!(kid.go_type(), Type::ANY_MAP);
        assert!(kid.get(b"Chart").is_some());
    }
}
