//! Exports what plugins of every kind have in common.

use crate::{Plugin, Request};

use super::{Adapter, wit};

wit_bindgen::generate!({
    path: ["../wit/types"],
    inline: "
        package pintle:sdk-plugin;
        world common { export pintle:types/plugin@1.0.0; }
    ",
    with: { "pintle:types/types@1.0.0": crate::glue::wit::types },
    pub_export_macro: true,
});

use exports::pintle::types::plugin;

impl<T: Plugin> plugin::Guest for Adapter<T> {
    fn describe() -> plugin::Description {
        plugin::Description {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            summary: T::SUMMARY.to_owned(),
            settings_schema: crate::settings::schema::<T::Settings>().to_string(),
            requests: T::requests().into_iter().map(Into::into).collect(),
        }
    }

    fn validate(settings: String) -> Vec<wit::types::Problem> {
        match crate::settings::parse::<T>(&settings) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Request> for plugin::Request {
    fn from(request: Request) -> Self {
        match request {
            Request::HttpHost(host) => Self::HttpHost(host),
            Request::ClusterRead(kind) => Self::ClusterRead(kind),
        }
    }
}
