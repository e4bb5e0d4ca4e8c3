//! Versions as templates see them.

use std::any::Any;

use pintle_gotemplate::{Args, Function, FunctionError, Kind, Named, Object, Text, Type, Value};

use super::version::{Version, are_identifiers, has_leading_zero};

/// A `*semver.Version`, or the `semver.Version` that its methods give.
#[derive(Clone, Debug)]
pub(super) struct VersionObject {
    version: Version,
    is_pointer: bool,
}

static POINTER: Named = Named {
    name: "*semver.Version",
    kind: Kind::Pointer,
    underlying: None,
    methods: &[],
};

static STRUCT: Named = Named {
    name: "semver.Version",
    kind: Kind::Struct,
    underlying: None,
    methods: &[],
};

impl VersionObject {
    pub(super) fn pointer(version: Version) -> Self {
        Self {
            version,
            is_pointer: true,
        }
    }
}

impl Object for VersionObject {
    fn go_type(&self) -> Type {
        Type::Named(if self.is_pointer { &POINTER } else { &STRUCT })
    }

    fn method(&self, name: &[u8]) -> Option<&'static Function> {
        Function::find(METHODS, name)
    }

    fn string(&self) -> Option<Text> {
        Some(self.version.to_string().into())
    }

    fn to_plain(&self) -> Value {
        self.version.to_string().into()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        let other: Option<&Self> = other.as_any().downcast_ref();
        other.is_some_and(|other| {
            self.is_pointer == other.is_pointer && self.version == other.version
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn version(args: Args<'_>) -> Result<&Version, FunctionError> {
    Ok(&args.receiver::<VersionObject>()?.version)
}

/// -1, 0 or 1 for an earlier, equal or later version.
fn compare(args: Args<'_>) -> Result<i64, FunctionError> {
    let other = &args.object::<VersionObject>(1)?.version;
    Ok(version(args)?.compare(other) as i64)
}

/// A version with other parts, written with a `v` if the one before was.
fn changed(
    args: Args<'_>,
    change: impl FnOnce(&mut Version) -> Result<(), FunctionError>,
) -> Result<Value, FunctionError> {
    let mut version = version(args)?.clone();
    let prefix = if version.original.starts_with('v') {
        "v"
    } else {
        ""
    };
    change(&mut version)?;
    version.original = format!("{prefix}{version}");
    Ok(Value::object(VersionObject {
        version,
        is_pointer: false,
    }))
}

fn increment(number: u64, name: &str) -> Result<u64, FunctionError> {
    number.checked_add(1).ok_or_else(|| {
        FunctionError::new(format_args!(
            "{name} version increment would overflow uint64"
        ))
    })
}

const OTHER: &[Type] = &[Type::Named(&POINTER)];
const TEXT: &[Type] = &[Type::String];

const METHODS: &[Function] = &[
    Function::method("Major", &[], |_, args| {
        Ok(Value::uint64(version(args)?.major))
    }),
    Function::method("Minor", &[], |_, args| {
        Ok(Value::uint64(version(args)?.minor))
    }),
    Function::method("Patch", &[], |_, args| {
        Ok(Value::uint64(version(args)?.patch))
    }),
    Function::method("Prerelease", &[], |_, args| {
        Ok(version(args)?.prerelease.as_str().into())
    }),
    Function::method("Metadata", &[], |_, args| {
        Ok(version(args)?.metadata.as_str().into())
    }),
    Function::method("Original", &[], |_, args| {
        Ok(version(args)?.original.as_str().into())
    }),
    Function::method("String", &[], |_, args| {
        Ok(version(args)?.to_string().into())
    }),
    Function::method("Compare", OTHER, |_, args| Ok(Value::int(compare(args)?))),
    Function::method("Equal", OTHER, |_, args| Ok((compare(args)? == 0).into())),
    Function::method("LessThan", OTHER, |_, args| Ok((compare(args)? < 0).into())),
    Function::method("LessThanEqual", OTHER, |_, args| {
        Ok((compare(args)? <= 0).into())
    }),
    Function::method("GreaterThan", OTHER, |_, args| {
        Ok((compare(args)? > 0).into())
    }),
    Function::method("GreaterThanEqual", OTHER, |_, args| {
        Ok((compare(args)? >= 0).into())
    }),
    Function::method("IncMajor", &[], |_, args| {
        changed(args, |version| {
            version.major = increment(version.major, "major")?;
            (version.minor, version.patch) = (0, 0);
            clear(version);
            Ok(())
        })
    }),
    Function::method("IncMinor", &[], |_, args| {
        changed(args, |version| {
            version.minor = increment(version.minor, "minor")?;
            version.patch = 0;
            clear(version);
            Ok(())
        })
    }),
    Function::method("IncPatch", &[], |_, args| {
        changed(args, |version| {
            // The version after a prerelease is that version itself.
            if version.prerelease.is_empty() {
                version.patch = increment(version.patch, "patch")?;
            }
            clear(version);
            Ok(())
        })
    }),
    Function::method("SetPrerelease", TEXT, |_, args| {
        let text = args.text(1)?.to_str_lossy();
        changed(args, |version| {
            if !text.is_empty() && !are_identifiers(&text) {
                return Err(FunctionError::new("invalid prerelease string"));
            }
            if text.split('.').any(has_leading_zero) {
                return Err(FunctionError::new("version segment starts with 0"));
            }
            version.prerelease = text.into_owned();
            Ok(())
        })
    }),
    Function::method("SetMetadata", TEXT, |_, args| {
        let text = args.text(1)?.to_str_lossy();
        changed(args, |version| {
            if !text.is_empty() && !are_identifiers(&text) {
                return Err(FunctionError::new("invalid metadata string"));
            }
            version.metadata = text.into_owned();
            Ok(())
        })
    }),
];

fn clear(version: &mut Version) {
    version.prerelease.clear();
    version.metadata.clear();
}
