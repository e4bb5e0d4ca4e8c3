//! Images: how they are pinned and where they come from.

use serde_json::Value;

use crate::{
    pods::{Container, Pod},
    rules::Rule,
    settings::Images,
    violation::Violation,
};

/// A parsed image reference, with the defaults that container runtimes fill in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// The registry: `docker.io`, `ghcr.io`, `localhost:5000`.
    pub(crate) registry: &'a str,
    /// The repository: `library/nginx`.
    pub(crate) repository: String,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Reads `[registry[:port]/]repository[:tag][@digest]`; `None` if it is malformed. The grammar is that of the distribution
    /// project (<https://pkg.go.dev/github.com/distribution/reference>), which container runtimes use.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let last_part = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_part..].split_once(':') {
            Some((last, tag)) => (&rest[..last_part + last.len()], Some(tag)),
            None => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path),
            _ => ("docker.io", name),
        };
        // This is the old name of the same registry.
        let registry = if registry == "index.docker.io" {
            "docker.io"
        } else {
            registry
        };
        let is_official = registry == "docker.io" && !path.contains('/');
        let well_formed = path.split('/').all(is_path_part)
            && name.len() <= 255
            && registry
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte))
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        let repository = if is_official {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        well_formed.then_some(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// Returns whether the first part of a name is a registry, and not a folder of Docker Hub.
fn is_registry(part: &str) -> bool {
    part.contains(['.', ':'])
        || part == "localhost"
        || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Returns whether a part of a path consists of lowercase letters and digits, with single `.`, up to two `_` or any number of
/// `-` between them.
fn is_path_part(part: &str) -> bool {
    let is_inner = |separator: &str| {
        matches!(separator, "." | "_" | "__")
            || (!separator.is_empty() && separator.bytes().all(|byte| byte == b'-'))
    };
    let is_word = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    !part.is_empty()
        && part.starts_with(is_word)
        && part.ends_with(is_word)
        && part
            .split(is_word)
            .filter(|separator| !separator.is_empty())
            .all(is_inner)
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let is_hex = hex
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    match algorithm {
        "sha256" => hex.len() == 64 && is_hex,
        "sha512" => hex.len() == 128 && is_hex,
        _ => !algorithm.is_empty() && hex.len() >= 32 && is_hex,
    }
}

/// Checks the images of a pod's containers and volumes.
pub(crate) fn check(settings: &Images, pod: &Pod<'_>, found: &mut Vec<Violation>) {
    for Container {
        pointer,
        name,
        value,
    } in pod.containers()
    {
        // A container without an image is refused by the server, or somebody fills it in later.
        let image = value.get("image").and_then(Value::as_str);
        if let Some(image) = image.filter(|image| !is_injected(pod, name, image)) {
            let user = User {
                name: format!("the container `{name}`"),
                container: Some(name.to_owned()),
            };
            check_image(settings, image, &format!("{pointer}/image"), &user, found);
        }
    }
    for (pointer, volume) in pod.volumes() {
        if let Some(image) = volume.pointer("/image/reference").and_then(Value::as_str) {
            let name = volume
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let user = User {
                name: format!("the volume `{name}`"),
                container: None,
            };
            check_image(
                settings,
                image,
                &format!("{pointer}/image/reference"),
                &user,
                found,
            );
        }
    }
}

/// Returns whether Istio's webhook replaces this image with its own: in the proxy of a pod that asks for it. Without the
/// webhook the image would be pulled as written, so nothing short of that counts.
/// <https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/>
fn is_injected(pod: &Pod<'_>, container: &str, image: &str) -> bool {
    let said = |pointer: &str| pod.metadata()?.pointer(pointer)?.as_str();
    let asks = match said("/labels/sidecar.istio.io~1inject") {
        Some(inject) => inject == "true",
        None => said("/annotations/inject.istio.io~1templates").is_some(),
    };
    asks && (container, image) == ("istio-proxy", "auto")
}

/// The user of an image.
struct User {
    name: String,
    container: Option<String>,
}

fn check_image(
    settings: &Images,
    image: &str,
    pointer: &str,
    user: &User,
    found: &mut Vec<Violation>,
) {
    let mut broken = |rule: Rule, message: String, hint: String| {
        found.push(Violation {
            container: user.container.clone(),
            subject: image.to_owned(),
            ..Violation::new(rule, pointer, message, hint)
        });
    };
    let who = &user.name;
    let Some(reference) = Reference::parse(image) else {
        let hint = "write `registry/repository:tag`, lowercase, without blanks";
        return broken(
            Rule::ImageInvalid,
            format!("{who} has an image `{image}`, which is no reference"),
            hint.into(),
        );
    };
    match (reference.tag, reference.digest) {
        (None, None) => {
            let message =
                format!("{who} uses the image `{image}` without a tag, which means `latest`");
            broken(
                Rule::ImageTagMissing,
                message,
                "name the version: `:1.2.3`, or a digest".to_owned(),
            );
        }
        (Some(tag), None)
            if settings
                .mutable_tags
                .iter()
                .any(|pattern| pattern.matches(tag)) =>
        {
            let message = format!("{who} uses the image `{image}`, whose tag moves");
            broken(
                Rule::ImageTagLatest,
                message,
                "name the version: `:1.2.3`, or a digest".to_owned(),
            );
        }
        (_, Some(_)) | (Some(_), None) => {}
    }
    if reference.digest.is_none() {
        let message = format!("{who} uses the image `{image}` without a digest");
        broken(
            Rule::ImageDigestMissing,
            message,
            "add the digest: `@sha256:…`".to_owned(),
        );
    }
    if !is_allowed(settings, &reference) {
        let Reference {
            registry,
            repository,
            ..
        } = &reference;
        let allowed: Vec<String> = settings
            .registries
            .iter()
            .map(|pattern| format!("`{pattern}`"))
            .collect();
        let message =
            format!("{who} uses an image of `{registry}/{repository}`, which is not allowed");
        broken(
            Rule::RegistryNotAllowed,
            message,
            format!("use an image of {}", allowed.join(", ")),
        );
    }
}

fn is_allowed(settings: &Images, reference: &Reference<'_>) -> bool {
    let Reference {
        registry,
        repository,
        ..
    } = reference;
    settings.registries.is_empty()
        || settings.registries.iter().any(|pattern| {
            if pattern.as_str().contains('/') {
                pattern.matches(&format!("{registry}/{repository}"))
            } else {
                pattern.matches(registry)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Reference::parse(text) {
            None => "malformed".to_owned(),
            Some(reference) => format!(
                "{} {} {} {}",
                reference.registry,
                reference.repository,
                reference.tag.unwrap_or("-"),
                reference.digest.map_or("-", |digest| &digest[..10])
            ),
        }
    }

    #[test]
    fn references_have_the_defaults_of_container_runtimes() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, expected) in [
            ("nginx", "docker.io library/nginx - -"),
            ("nginx:1.27", "docker.io library/nginx 1.27 -"),
            ("acme/web:1", "docker.io acme/web 1 -"),
            ("docker.io/nginx", "docker.io library/nginx - -"),
            ("index.docker.io/nginx:1", "docker.io library/nginx 1 -"),
            (
                "ghcr.io/acme/team/web:v1.2_3-x",
                "ghcr.io acme/team/web v1.2_3-x -",
            ),
            ("localhost/web", "localhost web - -"),
            ("localhost:5000/web", "localhost:5000 web - -"),
            ("registry:5000/web:1", "registry:5000 web 1 -"),
            ("web:5000", "docker.io library/web 5000 -"),
            ("REGISTRY/web", "REGISTRY web - -"),
            ("[::1]:5000/web", "[::1]:5000 web - -"),
            ("a__b/c--d/e.f:1", "docker.io a__b/c--d/e.f 1 -"),
            (
                &format!("nginx@{digest}"),
                "docker.io library/nginx - sha256:0a0",
            ),
            (
                &format!("ghcr.io/a/b:latest@{digest}"),
                "ghcr.io a/b latest sha256:0a0",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_references_are_none() {
        for text in [
            "",
            " ",
            "nginx ",
            "Nginx",
            "nginx:",
            "nginx:-1",
            "nginx:a b",
            "nginx:${TAG}",
            "acme//web",
            "/nginx",
            "nginx/",
            "a___b",
            "a..b",
            "-a",
            "ghcr.io/Acme/web:1",
            "nginx@sha256:12",
            "nginx@",
            "nginx@sha256",
            "https://ghcr.io/a/b:1",
            "a:b:c",
            "é",
            "{{ .Values.image }}",
            &"a".repeat(256),
        ] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
