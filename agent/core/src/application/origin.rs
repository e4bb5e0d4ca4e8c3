//! The place where a source's revisions come from.

use super::Source;
use crate::digest::{Digest, Digester};

impl Source {
    /// Returns a digest of where the revisions of this source are stored, whichever of them it follows. A revision that came from
    /// there can be fetched from there again.
    pub fn origin(&self) -> Digest {
        let digester = Digester::new("origin/v1");
        let digester = match self {
            Self::Git(git) => digester.part("git").part(&git.url),
            Self::Oci(oci) => digester.part("oci").part(&oci.url),
            Self::Chart(chart) => digester
                .part("chart")
                .part(&chart.repository)
                .part(&chart.name),
        };
        digester.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn another_place_is_another_origin_and_what_is_followed_there_is_not() {
        let origin = |source: Value| -> Digest {
            serde_json::from_value::<Source>(source).unwrap().origin()
        };
        let main = origin(json!({"git": {"url": "https://a/shop", "branch": "main", "path": "x"}}));
        let tag = origin(json!({"git": {"url": "https://a/shop", "tag": "v1"}}));
        assert_eq!(main, tag);
        let others = [
            json!({"git": {"url": "https://b/shop", "branch": "main"}}),
            json!({"oci": {"url": "oci://a/shop"}}),
            json!({"chart": {"repository": "https://a/shop", "name": "web"}}),
            json!({"chart": {"repository": "https://a/shop", "name": "api"}}),
        ]
        .map(origin);
        let all: std::collections::BTreeSet<Digest> = others.into_iter().chain([main]).collect();
        assert_eq!(all.len(), 5);
    }
}
