//! What must hold, whichever builds alternate.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use pintle_harness::ApiRequest;
use serde_json::Value;

use crate::shop::{APPLICATIONS, Writes, inventory};

/// What the cluster has of the applications at some point in time.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The status of each Application.
    pub(crate) statuses: BTreeMap<String, Value>,
    /// All objects that carry an application's label, by `RESOURCE/NAME`.
    pub(crate) objects: BTreeMap<String, Value>,
}

/// What should have happened since then.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The content of git.
    pub(crate) round: u32,
    /// The expected writes.
    pub(crate) written: &'a Writes,
}

/// Returns the status codes that answered each write, by `VERB RESOURCE/NAME`. Dry runs do not count.
pub(crate) fn codes(requests: &[ApiRequest]) -> BTreeMap<String, Vec<u16>> {
    let mut codes = BTreeMap::<String, Vec<u16>>::new();
    for request in requests {
        if request.is_write() && !request.uri.contains("dryRun=") {
            let write = format!("{} {}/{}", request.verb, request.resource, request.name);
            codes.entry(write).or_default().push(request.code);
        }
    }
    codes
}

/// Checks that the expected writes were sent, and no others, and that each was answered with success at most once. If a sender
/// was killed before the answer, it is unknown whether its write was done: only such a write may lack a successful answer.
pub(crate) fn written_once(requests: &[ApiRequest], expected: &Writes) -> Result<()> {
    let codes = codes(requests);
    let found: BTreeSet<String> = codes.keys().cloned().collect();
    ensure!(
        found == *expected,
        "written beyond what was expected: {:?}; and not written: {:?}",
        found.difference(expected).collect::<Vec<_>>(),
        expected.difference(&found).collect::<Vec<_>>()
    );
    for (write, codes) in codes {
        let done = codes.iter().filter(|code| (200..300).contains(*code));
        ensure!(done.count() <= 1, "{write}: answered {codes:?}");
    }
    Ok(())
}

impl Kept {
    /// Checks that what was here and was not to change is still there later.
    pub(crate) fn survives(&self, later: &Self, wanted: &Wanted<'_>) -> Result<()> {
        for application in APPLICATIONS {
            let status = |kept: &Self| kept.statuses.get(application).cloned().unwrap_or_default();
            let (before, after) = (status(self), status(later));
            listed(&after, application, wanted.round)?;
            history(&before["history"], &after["history"])
                .with_context(|| format!("history of {application}"))?;
        }
        self.objects_survive(later, wanted)
    }

    fn objects_survive(&self, later: &Self, wanted: &Wanted<'_>) -> Result<()> {
        for (name, before) in &self.objects {
            let wrote = |verb: &str| wanted.written.contains(&format!("{verb} {name}"));
            let Some(after) = later.objects.get(name) else {
                ensure!(wrote("delete"), "{name} is gone: it was {before}");
                continue;
            };
            let same = |field: &str| before["metadata"][field] == after["metadata"][field];
            ensure!(
                same("uid") || wrote("delete") || name == "configmaps/settings-1",
                "{name} is another object: {before} became {after}"
            );
            // Controllers write to Services, Deployments and Jobs, too.
            let is_data = ["configmaps/", "secrets/"]
                .iter()
                .any(|kind| name.starts_with(kind));
            ensure!(
                !is_data || same("resourceVersion") || wrote("patch"),
                "{name} was touched: {before} became {after}"
            );
        }
        let expected: BTreeSet<String> = APPLICATIONS
            .iter()
            .flat_map(|application| inventory(application, wanted.round))
            .collect();
        let found: BTreeSet<String> = later.objects.values().map(object).collect();
        ensure!(
            found == expected,
            "there are {found:?} where git has {expected:?}"
        );
        Ok(())
    }
}

fn object(value: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}",
        text(&value["kind"]),
        text(&value["metadata"]["name"])
    )
}

/// Checks that an inventory lists what git has, and knows for each entry what was applied.
fn listed(status: &Value, application: &str, round: u32) -> Result<()> {
    let entries = status["inventory"]["entries"]
        .as_array()
        .with_context(|| format!("{application} has no inventory: {status}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found: BTreeSet<String> = entries
        .iter()
        .map(|entry| format!("{} {}", text(&entry["kind"]), text(&entry["name"])))
        .collect();
    let expected = inventory(application, round);
    ensure!(
        found == expected,
        "the inventory of {application} lists {found:?} where git has {expected:?}"
    );
    for entry in entries {
        ensure!(
            entry["uid"].is_string(),
            "the inventory of {application} does not know whether {entry} was applied"
        );
    }
    Ok(())
}

/// Checks that each entry of a history is unchanged in a later one, except for how it ended if it had not ended yet.
fn history(before: &Value, after: &Value) -> Result<()> {
    let entries = |history: &Value| history.as_array().cloned().unwrap_or_default();
    let after = entries(after);
    for entry in entries(before) {
        let same = after
            .iter()
            .find(|other| other["number"] == entry["number"]);
        let same = same.with_context(|| format!("{entry} is gone from {after:?}"))?;
        for field in [
            "revision",
            "started",
            "healthySince",
            "renderedDigest",
            "planDigest",
        ] {
            ensure!(
                same[field] == entry[field] || entry[field].is_null(),
                "{field} was {} and is {} in {same}",
                entry[field],
                same[field]
            );
        }
    }
    let numbers: BTreeSet<u64> = after
        .iter()
        .filter_map(|entry| entry["number"].as_u64())
        .collect();
    ensure!(
        numbers.len() == after.len(),
        "two entries have one number: {after:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(verb: &str, name: &str, code: u16) -> ApiRequest {
        ApiRequest {
            verb: verb.to_owned(),
            user: String::new(),
            impersonated: None,
            user_agent: String::new(),
            uri: String::new(),
            resource: "configmaps".to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: name.to_owned(),
            code,
        }
    }

    #[test]
    fn a_write_too_many_a_write_too_few_and_one_done_twice_are_found() {
        let expected = Writes::from(["patch configmaps/a".to_owned()]);
        let patch = |code| request("patch", "a", code);
        written_once(&[patch(200)], &expected).unwrap();
        written_once(&[patch(409), patch(200)], &expected).unwrap();
        written_once(&[], &expected).unwrap_err();
        written_once(&[patch(200), request("delete", "b", 200)], &expected).unwrap_err();
        written_once(&[patch(200), patch(200)], &expected).unwrap_err();
    }

    #[test]
    fn history_may_grow_but_not_change() {
        let entry = |number: u64, revision: &str| json!({"number": number, "revision": revision});
        let before = json!([entry(1, "a")]);
        history(&before, &json!([entry(2, "b"), entry(1, "a")])).unwrap();
        for broken in [
            json!([entry(2, "b")]),
            json!([entry(1, "b")]),
            json!([entry(1, "a"), entry(1, "a")]),
        ] {
            history(&before, &broken).unwrap_err();
        }
    }

    #[test]
    fn what_is_gone_or_another_object_is_found() {
        let kept = |objects: &[(&str, &str)]| Kept {
            statuses: BTreeMap::new(),
            objects: objects
                .iter()
                .map(|(name, uid)| ((*name).to_owned(), json!({"metadata": {"uid": uid}})))
                .collect(),
        };
        let (before, none) = (kept(&[("configmaps/a", "1")]), Writes::new());
        let wanted = Wanted {
            round: 0,
            written: &none,
        };
        let message = |later: &Kept| {
            before
                .objects_survive(later, &wanted)
                .unwrap_err()
                .to_string()
        };
        assert!(message(&kept(&[])).starts_with("configmaps/a is gone"));
        let another = message(&kept(&[("configmaps/a", "2")]));
        assert!(
            another.starts_with("configmaps/a is another object"),
            "{another}"
        );
    }
}
