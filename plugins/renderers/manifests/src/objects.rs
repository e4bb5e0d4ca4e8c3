//! From documents to objects: opens lists, and checks what every object needs.

use pintle_sdk::{ObjectId, Position, Problem};
use pintle_yaml::{Mark, Node, Value};

use crate::report::{Report, position};

/// An object, and the file that it is in.
#[derive(Debug)]
pub(crate) struct Object {
    /// The file.
    pub(crate) file: String,
    /// The object, with its positions.
    pub(crate) node: Node,
}

impl Object {
    /// Returns the position of a mark in the object's file.
    pub(crate) fn position(&self, mark: Mark) -> Position {
        position(&self.file, mark)
    }

    /// Returns the identity, if the object has all of it.
    pub(crate) fn id(&self) -> Option<ObjectId> {
        let text = |pointer: &str| {
            self.node
                .at(pointer)
                .and_then(Node::as_str)
                .map(str::to_owned)
        };
        Some(ObjectId {
            api_version: text("/apiVersion")?,
            kind: text("/kind")?,
            namespace: text("/metadata/namespace").filter(|namespace| !namespace.is_empty()),
            name: text("/metadata/name")?,
        })
    }

    /// Returns a problem with a field, or with the place where the field would have to be.
    pub(crate) fn problem(&self, message: impl Into<String>, pointer: &str) -> Problem {
        Problem::new(message)
            .pointer(pointer)
            .position(self.position(self.node.nearest(pointer)))
    }
}

/// Returns the objects of a document: the document itself, or the items of a list.
pub(crate) fn open(file: &str, document: Node, report: &mut Report) -> Vec<Object> {
    let mut objects = Vec::new();
    open_into(file, document, &mut objects, report);
    objects
}

fn open_into(file: &str, node: Node, objects: &mut Vec<Object>, report: &mut Report) {
    let object = Object {
        file: file.to_owned(),
        node,
    };
    if object.node.as_mapping().is_none() {
        let message = format!(
            "an object is a mapping, and this is {}",
            object.node.value.describe()
        );
        let problem = Problem::new(message).position(object.position(object.node.mark));
        report.problem(
            problem.hint(
                "separate objects with `---`, or put them into the `items` of a `kind: List`",
            ),
        );
        return;
    }
    let Some(kind) = list_kind(&object) else {
        objects.push(object);
        return;
    };
    let api_version = object.node.get("apiVersion").cloned();
    let problem = |object: &Object, items: &Node| {
        let message = format!(
            "the items of a {kind} are a list, and this is {}",
            items.value.describe()
        );
        object.problem(message, "/items")
    };
    let found = match object.node.get("items") {
        Some(items) if items.as_sequence().is_none() && !items.is_null() => {
            Some(problem(&object, items))
        }
        _ => None,
    };
    if let Some(problem) = found {
        report.problem(problem);
        return;
    }
    let Value::Mapping(mut list) = object.node.value else {
        return;
    };
    let Some(Node {
        value: Value::Sequence(items),
        ..
    }) = list.remove("items")
    else {
        return;
    };
    for mut item in items {
        inherit(&kind, api_version.as_ref(), &mut item);
        open_into(file, item, objects, report);
    }
}

/// Returns the kind if the object is a list of objects: `v1` `List`, or a kind such as `ConfigMapList` that has items.
fn list_kind(object: &Object) -> Option<String> {
    let kind = object.node.get("kind")?.as_str()?;
    let is_general =
        kind == "List" && object.node.get("apiVersion").and_then(Node::as_str) == Some("v1");
    let has_items = object
        .node
        .get("items")
        .is_some_and(|items| items.as_sequence().is_some());
    (is_general || (kind.ends_with("List") && has_items)).then(|| kind.to_owned())
}

/// Adds the `kind` and `apiVersion` that the API server omits from the items of its lists, such as `ConfigMapList`.
fn inherit(list_kind: &str, api_version: Option<&Node>, item: &mut Node) {
    let Some(kind) = list_kind
        .strip_suffix("List")
        .filter(|kind| !kind.is_empty())
    else {
        return;
    };
    let mark = item.mark;
    let Value::Mapping(mapping) = &mut item.value else {
        return;
    };
    if mapping.get("kind").is_none() {
        let value = Value::String {
            text: kind.to_owned(),
            plain: true,
        };
        mapping.insert("kind", mark, Node { value, mark });
        if let (None, Some(api_version)) = (mapping.get("apiVersion"), api_version) {
            mapping.insert("apiVersion", mark, api_version.clone());
        }
    }
}

/// Checks what every object needs, and returns whether all of it is there.
pub(crate) fn check(object: &Object, report: &mut Report) -> bool {
    let mut problems = Vec::new();
    check_type(object, &mut problems);
    check_metadata(object, &mut problems);
    let is_sound = problems.is_empty();
    for problem in problems {
        report.problem(problem);
    }
    is_sound
}

fn check_type(object: &Object, problems: &mut Vec<Problem>) {
    if let Some(kind) = text(object, "/kind", "the object has no kind", problems)
        && !kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        let problem = object.problem(format!("`{}` is no kind", shortened(kind)), "/kind");
        problems.push(problem.hint("a kind has letters and digits, as in `Deployment`"));
    }
    let Some(api_version) = text(
        object,
        "/apiVersion",
        "the object has no apiVersion",
        problems,
    ) else {
        return;
    };
    let parts: Vec<&str> = api_version.split('/').collect();
    let well_formed = parts.len() <= 2
        && parts.iter().all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
                })
        });
    if !well_formed {
        let problem = object.problem(
            format!("`{}` is no apiVersion", shortened(api_version)),
            "/apiVersion",
        );
        problems.push(problem.hint("write `v1`, or a group and a version such as `apps/v1`"));
    } else if parts[0] == "kustomize.config.k8s.io" {
        let problem = object.problem(
            "this is a file of Kustomize, no object of a cluster",
            "/apiVersion",
        );
        problems.push(problem.hint("exclude it, or use a renderer for Kustomize"));
    }
}

fn check_metadata(object: &Object, problems: &mut Vec<Problem>) {
    match object.node.get("metadata") {
        None => {
            problems.push(
                object
                    .problem("the object has no metadata", "/metadata")
                    .hint("give it a metadata.name"),
            );
            return;
        }
        Some(metadata) if metadata.as_mapping().is_none() => {
            let message = format!(
                "metadata is a mapping, and this is {}",
                metadata.value.describe()
            );
            problems.push(object.problem(message, "/metadata"));
            return;
        }
        Some(_) => {}
    }
    check_name(object, problems);
    check_namespace(object, problems);
    check_texts(object, "labels", problems);
    check_texts(object, "annotations", problems);
}

fn check_name(object: &Object, problems: &mut Vec<Problem>) {
    const NAME: &str = "/metadata/name";
    const GENERATE: &str = "/metadata/generateName";
    if object.node.at(NAME).is_none() && object.node.at(GENERATE).is_some() {
        let message = "generateName gives the object another name on each apply, so that nothing could be updated or removed";
        problems.push(
            object
                .problem(message, GENERATE)
                .hint("give it a metadata.name"),
        );
        return;
    }
    let Some(name) = text(object, NAME, "the object has no name", problems) else {
        return;
    };
    // This is the rule for all kinds (`path.ValidatePathSegmentName`). Most have a stricter one, which the server knows.
    if matches!(name, "." | "..") || name.contains(['/', '%']) || name.len() > 253 {
        let problem = object.problem(
            format!("`{}` is no name of an object", shortened(name)),
            NAME,
        );
        problems.push(
            problem.hint(
                "a name has at most 253 characters, no `/` and no `%`, and is not `.` or `..`",
            ),
        );
    }
}

fn check_namespace(object: &Object, problems: &mut Vec<Problem>) {
    const NAMESPACE: &str = "/metadata/namespace";
    let Some(node) = object.node.at(NAMESPACE).filter(|node| !node.is_null()) else {
        return;
    };
    let Some(namespace) = node.as_str() else {
        problems.push(not_a_text(object, node, NAMESPACE));
        return;
    };
    // Kubernetes requires an RFC 1123 label for namespaces. An empty one is as good as none.
    let well_formed = namespace.len() <= 63
        && !namespace.starts_with('-')
        && !namespace.ends_with('-')
        && namespace
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !well_formed {
        let problem = object.problem(
            format!("`{}` is no name of a namespace", shortened(namespace)),
            NAMESPACE,
        );
        problems.push(problem.hint("use at most 63 lowercase letters, digits and inner `-`"));
    }
}

/// Checks that labels or annotations are texts: a number or a boolean is the mistake that the server refuses most.
fn check_texts(object: &Object, field: &str, problems: &mut Vec<Problem>) {
    let pointer = format!("/metadata/{field}");
    let Some(node) = object.node.at(&pointer).filter(|node| !node.is_null()) else {
        return;
    };
    let Some(mapping) = node.as_mapping() else {
        let message = format!(
            "{field} are a mapping, and this is {}",
            node.value.describe()
        );
        problems.push(object.problem(message, &pointer));
        return;
    };
    for entry in mapping.iter().filter(|entry| entry.node.as_str().is_none()) {
        problems.push(not_a_text(
            object,
            &entry.node,
            &pintle_yaml::pointer(&pointer, &entry.key),
        ));
    }
}

/// Returns the text of a field that must have one.
fn text<'a>(
    object: &'a Object,
    pointer: &str,
    missing: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'a str> {
    let found = object.node.at(pointer).filter(|node| !node.is_null());
    match (found, found.and_then(Node::as_str)) {
        (_, Some(text)) if !text.is_empty() => return Some(text),
        (Some(node), None) => problems.push(not_a_text(object, node, pointer)),
        _ => problems.push(object.problem(missing, pointer)),
    }
    None
}

fn not_a_text(object: &Object, node: &Node, pointer: &str) -> Problem {
    let field = pointer
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .replace("~1", "/")
        .replace("~0", "~");
    let problem = object.problem(
        format!("`{field}` is a text, and this is {}", node.value.describe()),
        pointer,
    );
    match node.value {
        Value::Bool(_) | Value::Number(_) => problem.hint("quote it"),
        _ => problem,
    }
}

/// Returns as much of a name as fits into a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
