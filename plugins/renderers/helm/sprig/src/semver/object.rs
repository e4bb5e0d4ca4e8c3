//! Versions as templates see them.

use std::any::Any;

use pintle_gosemver::{ChangeError, Version};
use pintle_gotemplate::{Args, Function, FunctionError, Kind, Named, Object, Text, Type, Value};

/// A `*semver.Version`, or the `semver.Version` that its methods return.
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

    /// Returns the default version, because no field of a version is exported.
    fn deep_copied(&self) -> Option<Value> {
        Some(Value::object(Self {
            version: Version::default(),
            is_pointer: self.is_pointer,
        }))
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

/// Returns -1, 0 or 1 for an earlier, equal or later version.
fn compare(args: Args<'_>) -> Result<i64, FunctionError> {
    let other = &args.object::<VersionObject>(1)?.version;
    Ok(version(args)?.compare(other) as i64)
}

/// Returns the new version that a method creates, which is not a pointer.
fn changed(version: Result<Version, ChangeError>) -> Result<Value, FunctionError> {
    Ok(Value::object(VersionObject {
        version: version.map_err(FunctionError::new)?,
        is_pointer: false,
    }))
}

const OTHER: &[Type] = &[Type::Named(&POINTER)];
const TEXT: &[Type] = &[Type::String];

const METHODS: &[Function] = &[
    Function::method("Major", &[], |_, args| {
        Ok(Value::uint64(version(args)?.major()))
    }),
    Function::method("Minor", &[], |_, args| {
        Ok(Value::uint64(version(args)?.minor()))
    }),
    Function::method("Patch", &[], |_, args| {
        Ok(Value::uint64(version(args)?.patch()))
    }),
    Function::method("Prerelease", &[], |_, args| {
        Ok(version(args)?.prerelease().into())
    }),
    Function::method("Metadata", &[], |_, args| {
        Ok(version(args)?.metadata().into())
    }),
    Function::method("Original", &[], |_, args| {
        Ok(version(args)?.original().into())
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
        changed(version(args)?.next_major())
    }),
    Function::method("IncMinor", &[], |_, args| {
        changed(version(args)?.next_minor())
    }),
    Function::method("IncPatch", &[], |_, args| {
        changed(version(args)?.next_patch())
    }),
    Function::method("SetPrerelease", TEXT, |_, args| {
        changed(version(args)?.with_prerelease(&args.text(1)?.to_str_lossy()))
    }),
    Function::method("SetMetadata", TEXT, |_, args| {
        changed(version(args)?.with_metadata(&args.text(1)?.to_str_lossy()))
    }),
];
