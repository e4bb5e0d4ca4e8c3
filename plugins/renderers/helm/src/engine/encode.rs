//! `toYaml`, `fromJson` and the like: the functions of [`pintle_goencoding::functions`], made callable from templates.

use pintle_goencoding::functions as encoding;
use pintle_gotemplate::{Function, FunctionError, Text, Type, Value};

const ANY: &[Type] = &[Type::Any];
const STRING: &[Type] = &[Type::String];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("toYaml", ANY, |_, args| {
        Ok(encoding::to_yaml(args.any(0)).into())
    }),
    Function::new("mustToYaml", ANY, |_, args| {
        text(encoding::must_to_yaml(args.any(0)))
    }),
    Function::new("toYamlPretty", ANY, |_, args| {
        text(encoding::to_yaml_pretty(args.any(0)))
    }),
    Function::new("toJson", ANY, |_, args| {
        Ok(encoding::to_json(args.any(0)).into())
    }),
    Function::new("mustToJson", ANY, |_, args| {
        text(encoding::must_to_json(args.any(0)))
    }),
    Function::new("toPrettyJson", ANY, |_, args| {
        Ok(encoding::to_pretty_json(args.any(0)).into())
    }),
    Function::new("mustToPrettyJson", ANY, |_, args| {
        text(encoding::must_to_pretty_json(args.any(0)))
    }),
    Function::new("toRawJson", ANY, |_, args| {
        text(encoding::must_to_raw_json(args.any(0)))
    }),
    Function::new("mustToRawJson", ANY, |_, args| {
        text(encoding::must_to_raw_json(args.any(0)))
    }),
    Function::new("fromJson", STRING, |_, args| {
        Ok(encoding::from_json(args.text(0)?).into())
    }),
    Function::new("mustFromJson", STRING, |_, args| {
        encoding::must_from_json(args.text(0)?).map_err(FunctionError::new)
    }),
    Function::new("fromJsonArray", STRING, |_, args| {
        Ok(encoding::from_json_array(args.text(0)?).into())
    }),
    Function::new("fromYaml", STRING, |_, args| {
        Ok(encoding::from_yaml(args.text(0)?).into())
    }),
    Function::new("toToml", ANY, |_, args| {
        text(encoding::to_toml(args.any(0)))
    }),
    Function::new("mustToToml", ANY, |_, args| {
        text(encoding::must_to_toml(args.any(0)))
    }),
    Function::new("fromToml", STRING, |_, args| {
        Ok(encoding::from_toml(args.text(0)?, &pintle_sprig::toml_time).into())
    }),
    Function::new("fromYamlArray", STRING, |_, args| {
        Ok(encoding::from_yaml_array(args.text(0)?).into())
    }),
];

/// Turns an encoder's error into one that stops the template.
fn text(result: Result<Text, impl std::fmt::Display>) -> Result<Value, FunctionError> {
    result.map(Value::String).map_err(FunctionError::new)
}
