//! `.Files`: the files of a chart that are not templates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pintle_gotemplate::{
    Call, Function, FunctionError, Kind, List, Map, Named, Text, Type, Value, value::Entries,
};

use crate::{chart::File, glob::Glob};

static FILES: Named = Named {
    name: "engine.files",
    kind: Kind::Map,
    underlying: Some(Type::Map(&Type::BYTES)),
    methods: METHODS,
};

const METHODS: &[Function] = &[
    Function::method("Get", &[Type::String], |_, args| {
        Ok(Value::String(content(args.map(0)?, args.text(1)?)))
    }),
    Function::method("GetBytes", &[Type::String], |_, args| {
        Ok(List::bytes(content(args.map(0)?, args.text(1)?)).into())
    }),
    Function::method("Glob", &[Type::String], |call, args| {
        Ok(glob(args.map(0)?, args.text(1)?, call)?.into())
    }),
    Function::method("Lines", &[Type::String], |_, args| {
        Ok(lines(&content(args.map(0)?, args.text(1)?)).into())
    }),
    Function::method("AsConfig", &[], |_, args| {
        let text = flattened(args.map(0)?, |data| Value::String(data.clone()));
        Ok(text.into())
    }),
    Function::method("AsSecrets", &[], |_, args| {
        let text = flattened(args.map(0)?, |data| STANDARD.encode(data).into());
        Ok(text.into())
    }),
];

/// Returns the files as templates see them: Helm's `engine.files`, a map from names to contents, with methods.
pub(crate) fn files(files: &[File]) -> Map {
    let entries = files.iter().map(|file| {
        let content = List::bytes(file.data.clone());
        (Text::from(file.name.as_str()), content.into())
    });
    Map::with_entries(Type::Named(&FILES), entries.collect())
}

/// Returns the content of a file; empty if there is no such file.
fn content(files: &Map, name: &[u8]) -> Text {
    let found = files.get(name);
    let bytes = found.as_ref().and_then(Value::as_list).map(bytes);
    bytes.unwrap_or_default()
}

fn bytes(list: &List) -> Text {
    list.as_bytes().cloned().unwrap_or_default()
}

/// Returns the files that a pattern matches, or all files if the pattern is malformed.
fn glob(files: &Map, pattern: &[u8], call: &mut dyn Call) -> Result<Map, FunctionError> {
    let glob = Glob::compile(pattern, call)?;
    let mut matching = Entries::new();
    for (name, content) in files.borrow().iter() {
        if glob.matches(name, call)? {
            matching.insert(name.clone(), content.clone());
        }
    }
    Ok(Map::with_entries(Type::Named(&FILES), matching))
}

fn lines(content: &[u8]) -> List {
    if content.is_empty() {
        return List::strings::<&str>([]);
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    List::strings(content.split(|&byte| byte == b'\n'))
}

/// Returns the contents by the last part of their names, as YAML.
fn flattened(files: &Map, write: fn(&Text) -> Value) -> Text {
    let entries = files.borrow();
    let entries = entries.iter().map(|(name, content)| {
        let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        let content = content.as_list().map(bytes).unwrap_or_default();
        (Text::from(last), write(&content))
    });
    let map = Map::with_entries(Type::STRING_MAP, entries.collect());
    pintle_goencoding::functions::to_yaml(&map.into())
}

#[cfg(test)]
mod tests {
    use pintle_gotemplate::Standalone;

    use super::*;

    #[test]
    fn files_by_name_and_pattern() {
        let file = |name: &str, data: &str| File {
            name: name.to_owned(),
            data: data.into(),
        };
        let all = files(&[
            file("a.txt", "1\n2\n"),
            file("conf/b.txt", "b"),
            file("conf/c.yaml", ""),
        ]);
        assert_eq!(content(&all, b"a.txt"), "1\n2\n");
        assert_eq!(content(&all, b"none"), "");
        assert_eq!(
            Value::from(lines(&content(&all, b"a.txt"))),
            List::strings(["1", "2"]).into()
        );
        assert!(lines(b"").is_empty());
        let matching = |pattern: &str| {
            glob(&all, pattern.as_bytes(), &mut Standalone::default()).expect("a good pattern")
        };
        assert_eq!(matching("conf/*").keys(), ["conf/b.txt", "conf/c.yaml"]);
        assert_eq!(matching("[").len(), 3);
    }
}
