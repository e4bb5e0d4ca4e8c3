//! What each template of a chart sees.

use std::{collections::BTreeMap, rc::Rc};

use pintle_gotemplate::{Map, Object, Text, Type, Value};

use crate::{
    capabilities::Capabilities,
    chart::Chart,
    files::files,
    release::Release,
    values::{VALUES, put},
};

/// A template with what it sees.
#[derive(Clone, Debug)]
pub struct Template {
    /// The path under which others call it: `web/charts/db/templates/_names.tpl`.
    pub name: String,
    /// The folder of the templates of its chart: `web/charts/db/templates`.
    pub base_path: Rc<str>,
    /// Its text.
    pub text: Text,
    /// What it sees: one table for all templates of a chart, in which the key `Template`, which says which of them is
    /// executed, is still to be set.
    pub values: Map,
}

pub(crate) fn is_partial(path: &str) -> bool {
    let last = path.rsplit('/').next();
    last.is_some_and(|last| last.starts_with('_'))
}

/// All templates of a chart and its subcharts, by name.
///
/// `values` are those of the chart with everything put together.
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

/// What all charts see alike.
struct World {
    release: Value,
    capabilities: Value,
}

/// Adds the templates of a chart and its subcharts; gives what they see.
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
        let inner = match values.get(subchart.name().as_bytes()) {
            Some(Value::Map(inner)) => inner.converted(Type::Named(&VALUES)),
            _ => Map::typed(Type::Named(&VALUES)),
        };
        let inner = collect(subchart, Some(&path), inner, world, found);
        put(&subcharts, subchart.name(), inner.into());
    }
    let base_path: Rc<str> = format!("{path}/templates").into();
    for file in chart.templates.iter() {
        // A library only defines.
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
