//! An application's settings: the operator's spec, completed by the `pintle.yaml` in the source.

use pintle_core::{
    application::{ApplicationSpec, FileError, parse_file},
    readset::{Question, ReadSet, read_answer, stat_answer},
    tree::{Tree, TreeError, TreePath},
};
use serde_json::Value;

use super::yaml;

/// The name of the file.
pub(crate) const FILE: &str = "pintle.yaml";
/// A name that it may be given by mistake.
const MISNAMED: &str = "pintle.yml";

/// Why the settings in the source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The file is not YAML.
    #[error("{0}")]
    Yaml(String),
    /// The file has invalid content.
    #[error(transparent)]
    File(#[from] FileError),
    /// An environment was requested, and there is no file that could define it.
    #[error(
        "environment `{0}` is asked for, but the folder has no pintle.yaml that could define it"
    )]
    NoFile(String),
    /// The file has another name: its content would silently be ignored.
    #[error("the folder has a pintle.yml, and only pintle.yaml is read: {}", if *.is_second { "keep what is meant in that one, and delete the other" } else { "rename it" })]
    Misnamed {
        /// Whether there is a `pintle.yaml` as well.
        is_second: bool,
    },
}

/// Completes an operator's spec from the source's `pintle.yaml`, and returns it with what was read.
pub(crate) fn complete(
    spec: ApplicationSpec,
    tree: &dyn Tree,
) -> Result<(ApplicationSpec, ReadSet), SettingsError> {
    let (file, reads) = read(spec.environment.as_deref(), tree)?;
    let spec = match file {
        Some(file) => spec.completed_by(file),
        None => spec,
    };
    Ok((spec, reads))
}

/// Reads the whole `pintle.yaml` of the source: on the command line, the person who runs it is the operator, and the file is
/// theirs.
pub(crate) fn read(
    environment: Option<&str>,
    tree: &dyn Tree,
) -> Result<(Option<ApplicationSpec>, ReadSet), SettingsError> {
    let named = |name| TreePath::parse(name).expect("the name of a file is a path");
    let path = named(FILE);
    let stat = tree.stat(&path);
    let misnamed = tree.stat(&named(MISNAMED));
    let mut reads = ReadSet::default();
    reads.record(Question::Read(FILE.to_owned()), read_answer(&stat));
    reads.record(Question::Stat(MISNAMED.to_owned()), stat_answer(&misnamed));
    let stat = stat?;
    if misnamed?.is_some() {
        let is_second = stat.is_some();
        return Err(SettingsError::Misnamed { is_second });
    }
    if stat.is_none() {
        return match environment {
            Some(environment) => Err(SettingsError::NoFile(environment.to_owned())),
            None => Ok((None, reads)),
        };
    }
    let value = yaml::read(&tree.read(&path)?, FILE)
        .map_err(|error| SettingsError::Yaml(format!("{error:#}")))?;
    Ok((Some(parse_file(value, environment)?), reads))
}

/// Sets `a.b=value` in settings. The value is YAML. A key in a list is its index.
pub(crate) fn set(settings: &mut Value, assignment: &str) -> Result<(), String> {
    let (path, value) = assignment.split_once('=').ok_or_else(|| {
        format!("--setting {assignment}: expected KEY=VALUE, such as `include=[\"*.yaml\"]`")
    })?;
    let value = yaml::read(value.as_bytes(), "the value")
        .map_err(|error| format!("--setting {assignment}: {error:#}"))?;
    let mut place = settings;
    for key in path.split('.') {
        if key.is_empty() {
            return Err(format!(
                "--setting {assignment}: the key `{path}` has an empty part"
            ));
        }
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pintle_core::tree::memory::MemoryTree;
    use serde_json::json;

    #[test]
    fn a_folder_without_a_file_is_fine_unless_an_environment_is_asked_for() {
        let tree = MemoryTree::new([("a.yaml", "")]);
        let (spec, reads) = complete(ApplicationSpec::default(), &tree).unwrap();
        // It was recorded that neither name is there.
        assert_eq!((spec, reads.len()), (ApplicationSpec::default(), 2));
        let asked = ApplicationSpec {
            environment: Some("staging".into()),
            ..ApplicationSpec::default()
        };
        let error = complete(asked, &tree).unwrap_err();
        insta::assert_snapshot!(error, @"environment `staging` is asked for, but the folder has no pintle.yaml that could define it");
    }

    #[test]
    fn the_file_completes_the_spec_and_counts_as_read() {
        let tree = MemoryTree::new([(FILE, "namespace: shop\n")]);
        let (spec, reads) = complete(ApplicationSpec::default(), &tree).unwrap();
        assert_eq!(spec.namespace.as_deref(), Some("shop"));
        assert_eq!(
            reads.questions().collect::<Vec<_>>(),
            [
                &Question::Read(FILE.into()),
                &Question::Stat(MISNAMED.into())
            ]
        );
        let broken = MemoryTree::new([(FILE, "nonsense: true\n")]);
        let error = complete(ApplicationSpec::default(), &broken)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("unknown field `nonsense`") && error.contains("`renderer`"),
            "{error}"
        );
    }

    #[test]
    fn a_file_by_another_name_is_refused() {
        let refused = |files: &[(&str, &str)]| {
            let tree = MemoryTree::new(files.to_vec());
            complete(ApplicationSpec::default(), &tree).unwrap_err()
        };
        let other = (MISNAMED, "namespace: shop\n");
        insta::assert_snapshot!(refused(&[other]), @"the folder has a pintle.yml, and only pintle.yaml is read: rename it");
        insta::assert_snapshot!(refused(&[other, (FILE, "")]), @"the folder has a pintle.yml, and only pintle.yaml is read: keep what is meant in that one, and delete the other");
        assert!(
            complete(
                ApplicationSpec::default(),
                &MemoryTree::new([("web/pintle.yml", "")])
            )
            .is_ok()
        );
    }

    #[test]
    fn single_settings_reach_into_objects() {
        let mut settings = json!({"a": {"b": 1}});
        set(&mut settings, "a.c=[1, x]").unwrap();
        set(&mut settings, "d.e=true").unwrap();
        assert_eq!(
            settings,
            json!({"a": {"b": 1, "c": [1, "x"]}, "d": {"e": true}})
        );
        assert!(set(&mut settings, "a").is_err() && set(&mut settings, "a..b=1").is_err());
    }
}
