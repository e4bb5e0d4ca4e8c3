//! Which keys of a Docker config apply to which reference.
//!
//! A key is a host, or a host and the beginning of a path, with or without `https://`. The rules are those of the kubelet
//! (<https://kubernetes.io/docs/concepts/containers/images/#config-json>): labels of the host may contain `*`, a port must be
//! equal, and of several keys that match, the longest path wins. Unlike in the kubelet, a path ends at a `/`: a key for
//! `registry/team` is not for `registry/team-b`. And `v1` and `v2` stand for the API of the whole registry only if nothing
//! follows them, because repositories may have these names, too.

use crate::reference::Reference;

/// The names under which Docker Hub is known.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The most characters of a key that are shown.
const MAX_SHOWN: usize = 100;

/// Returns whether a host is Docker Hub.
pub(crate) fn is_hub(host: &str) -> bool {
    HUB.contains(&host)
}

/// Returns the key under which Docker keeps, and asks helpers for, the credentials of a host.
pub(crate) fn docker_key(host: &str) -> &str {
    if is_hub(host) {
        "https://index.docker.io/v1/"
    } else {
        host
    }
}

/// How well a key fits. The greatest value wins.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    path_segments: usize,
    without_wildcard: bool,
}

/// Returns how well a key fits a reference; `None` if it is not for that reference.
pub(crate) fn fit(key: &str, reference: &Reference) -> Option<Fit> {
    let key = without_scheme(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    // Docker writes the registry as a whole as `https://index.docker.io/v1/`.
    let path = match path.trim_end_matches('/') {
        "v1" | "v2" => "",
        path => path,
    };
    let host = canonical(&host.to_ascii_lowercase()).to_owned();
    if !host_matches(&host, canonical(reference.registry())) {
        return None;
    }
    let wanted: Vec<_> = path.split('/').filter(|s| !s.is_empty()).collect();
    let mut segments = reference.repository().split('/');
    wanted
        .iter()
        .all(|wanted| segments.next() == Some(wanted))
        .then(|| Fit {
            path_segments: wanted.len(),
            without_wildcard: !host.contains('*'),
        })
}

fn without_scheme(key: &str) -> &str {
    key.strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
}

/// Returns what a key is for, without anything that may be a secret. None belongs there, but a URL can hold one.
pub(crate) fn shown(key: &str) -> String {
    let key = without_scheme(key);
    let place = key.rsplit_once('@').map_or(key, |(_, place)| place);
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let letters = place.trim_end_matches('/').chars();
    letters
        .filter(|c| !c.is_control())
        .take(MAX_SHOWN)
        .collect()
}

/// Returns whether two hosts are the same registry.
pub(crate) fn same_registry(a: &str, b: &str) -> bool {
    canonical(a) == canonical(b)
}

fn canonical(host: &str) -> &str {
    if is_hub(host) { HUB[0] } else { host }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let (pattern, pattern_port) = pattern.split_once(':').unwrap_or((pattern, ""));
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let (pattern, host): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && pattern.len() == host.len()
        && pattern
            .iter()
            .zip(host)
            .all(|(pattern, label)| label_matches(pattern, label))
}

/// Matches one label with any number of `*`, greedily from the left. That is enough, as nothing but `*` is special.
fn label_matches(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_for_what_they_name_and_no_more() {
        let reference = |text: &str| text.parse::<Reference>().unwrap();
        let ours = reference("registry.example.com:5000/team/app/plugin:1");
        for (key, segments) in [
            ("registry.example.com:5000", Some(0)),
            ("https://registry.example.com:5000", Some(0)),
            ("https://REGISTRY.example.com:5000/v2/", Some(0)),
            ("registry.example.com:5000/team", Some(1)),
            ("registry.example.com:5000/team/app/plugin", Some(3)),
            ("*.example.com:5000/team/", Some(1)),
            ("reg*ry.*.com:5000", Some(0)),
            ("registry.example.com:5000/te", None),
            ("registry.example.com:5000/team/app/plugin/more", None),
            ("registry.example.com", None),
            ("*.example.com", None),
            ("*.com:5000", None),
            ("example.com:5000", None),
            ("", None),
        ] {
            assert_eq!(fit(key, &ours).map(|f| f.path_segments), segments, "{key}");
        }
        for key in [
            "https://index.docker.io/v1/",
            "docker.io",
            "registry-1.docker.io",
        ] {
            assert!(fit(key, &reference("docker.io/org/x:1")).is_some(), "{key}");
            assert!(
                fit(key, &reference("index.docker.io/org/x:1")).is_some(),
                "{key}"
            );
        }
    }

    #[test]
    fn a_repository_may_be_called_as_the_api_is() {
        let ours: Reference = "registry.example.com/v2/charts/web:1".parse().unwrap();
        for (key, segments) in [
            ("registry.example.com/v2/charts/web", Some(3)),
            ("https://registry.example.com/v2/charts/", Some(2)),
            ("https://registry.example.com/v2/", Some(0)),
            ("registry.example.com/v2", Some(0)),
            ("registry.example.com/v1/", Some(0)),
            ("registry.example.com/charts/web", None),
            ("registry.example.com/v1/charts/web", None),
        ] {
            assert_eq!(fit(key, &ours).map(|f| f.path_segments), segments, "{key}");
        }
    }

    #[test]
    fn a_key_is_shown_without_a_secret() {
        for (key, expected) in [
            ("https://index.docker.io/v1/", "index.docker.io/v1"),
            ("*.example.com:5000/team", "*.example.com:5000/team"),
            ("https://me:hunter2@a.example.com/", "a.example.com"),
            ("me:hunter@2@a.example.com", "a.example.com"),
            ("a.example.com/x?token=hunter2#y", "a.example.com/x"),
            ("a\nb", "ab"),
        ] {
            assert_eq!(shown(key), expected);
        }
    }

    #[test]
    fn wildcards_stay_within_a_label() {
        for (pattern, label, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*bc*d", "axbcybcd", true),
            ("ab*b", "ab", false),
            ("abc", "abcd", false),
            ("a*d", "abc", false),
        ] {
            assert_eq!(label_matches(pattern, label), expected, "{pattern} {label}");
        }
    }
}
