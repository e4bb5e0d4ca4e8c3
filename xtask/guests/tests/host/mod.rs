//! The smallest host that can run a renderer: enough to test that the SDK's bindings fulfil the contract. The limits and the read
//! set are in the agent's host.

use std::collections::BTreeMap;

use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Engine, Result, Store};

use pintle::types::tree::{Entry, EntryKind, ReadError, Tree};
use pintle::types::types::{Failure, ObjectId, Problem};
use pintle::types::{arithmetic, cluster, context, log, tree, types};

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/renderer"],
    world: "pintle:renderer/plugin",
});

/// A compiled renderer and the folder that it reads. Each call gets an instance of its own.
#[derive(Clone)]
pub(crate) struct Host {
    component: Component,
    files: BTreeMap<String, String>,
}

/// The result of `describe`.
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) settings_schema: String,
    pub(crate) requests: usize,
}

/// The result of `render`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rendered {
    Objects(Vec<String>),
    Refused(Vec<String>),
}

impl Host {
    pub(crate) fn new(component: &[u8]) -> Self {
        let component =
            Component::new(&Engine::default(), component).expect("the component compiles");
        Self {
            component,
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.to_owned());
        self
    }

    pub(crate) fn describe(&self) -> Described {
        let (mut store, plugin) = self.instance();
        let described = plugin
            .pintle_types_plugin()
            .call_describe(&mut store)
            .expect("describes");
        Described {
            name: described.name,
            settings_schema: described.settings_schema,
            requests: described.requests.len(),
        }
    }

    pub(crate) fn validate(&self, settings: &str) -> Vec<String> {
        let (mut store, plugin) = self.instance();
        told(
            plugin
                .pintle_types_plugin()
                .call_validate(&mut store, &settings.to_owned())
                .expect("validates"),
        )
    }

    pub(crate) fn detect(&self) -> bool {
        let (mut store, plugin) = self.instance();
        plugin
            .pintle_renderer_renderer()
            .call_detect(&mut store, folder())
            .expect("detects")
    }

    pub(crate) fn render(&self, settings: &str) -> Rendered {
        let (mut store, plugin) = self.instance();
        let renderer = plugin.pintle_renderer_renderer();
        match renderer
            .call_render(&mut store, &settings.to_owned(), folder(), &[])
            .expect("renders")
        {
            Ok(rendering) => Rendered::Objects(
                rendering
                    .objects
                    .into_iter()
                    .map(|object| object.manifest)
                    .collect(),
            ),
            Err(Failure::Refused(problems)) => Rendered::Refused(told(problems)),
            Err(Failure::Unavailable(outage)) => panic!("unavailable: {}", outage.reason),
        }
    }

    fn instance(&self) -> (Store<State>, Plugin) {
        let mut linker = Linker::new(self.component.engine());
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)
            .expect("links");
        let mut store = Store::new(
            self.component.engine(),
            State {
                files: self.files.clone(),
            },
        );
        let plugin =
            Plugin::instantiate(&mut store, &self.component, &linker).expect("instantiates");
        (store, plugin)
    }
}

/// Returns a handle of the folder. There is only one, so the handle's value has no meaning.
fn folder() -> Resource<Tree> {
    Resource::new_own(0)
}

fn told(problems: Vec<Problem>) -> Vec<String> {
    let tell = |problem: Problem| {
        let pointer = problem
            .pointer
            .map(|pointer| format!("{pointer}: "))
            .unwrap_or_default();
        format!("{pointer}{}", problem.message)
    };
    problems.into_iter().map(tell).collect()
}

struct State {
    files: BTreeMap<String, String>,
}

impl tree::Host for State {}

impl tree::HostTree for State {
    fn read(&mut self, _: Resource<Tree>, path: String) -> Result<Vec<u8>, ReadError> {
        self.files
            .get(&path)
            .map(|content| content.clone().into_bytes())
            .ok_or(ReadError::NotFound)
    }

    fn entries(&mut self, _: Resource<Tree>, _: String) -> Result<Vec<Entry>, ReadError> {
        Err(ReadError::NotFound)
    }

    fn stat(&mut self, _: Resource<Tree>, path: String) -> Option<Entry> {
        let size = self.files.get(&path)?.len() as u64;
        Some(Entry {
            name: path,
            kind: EntryKind::File,
            size,
        })
    }

    fn glob(&mut self, _: Resource<Tree>, _: String) -> Result<Vec<String>, ReadError> {
        Ok(self.files.keys().cloned().collect())
    }

    fn drop(&mut self, _: Resource<Tree>) -> Result<()> {
        Ok(())
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, _: log::Level, _: String) {}
}

impl context::Host for State {
    fn name(&mut self) -> String {
        "web".to_owned()
    }

    fn namespace(&mut self) -> String {
        "shop".to_owned()
    }

    fn kube_version(&mut self) -> String {
        "v1.33.0".to_owned()
    }

    fn api_versions(&mut self) -> Vec<String> {
        vec!["v1".to_owned()]
    }

    fn revision(&mut self) -> String {
        "0".repeat(40)
    }

    fn revision_time(&mut self) -> i64 {
        0
    }

    fn secret_bytes(&mut self, _: String, length: u32) -> Vec<u8> {
        vec![0; length as usize]
    }
}

impl arithmetic::Host for State {
    fn power_modulo(&mut self, _: Vec<u8>, _: Vec<u8>, _: Vec<u8>) -> Option<Vec<u8>> {
        None
    }
}

impl cluster::Host for State {
    fn get(&mut self, _: ObjectId) -> Option<String> {
        None
    }

    fn find(&mut self, _: String, _: String, _: Option<String>) -> Vec<String> {
        Vec::new()
    }
}
