//! Dictionary functions. Go returns keys and values in random order. Here, they are in key order.

use pintle_gotemplate::{
    Args, Call, Function, FunctionError, List, Map, Type, Value, value::MAX_NESTING,
};

use crate::{Outcome, cast, merge};

const MAP: &[Type] = &[Type::ANY_MAP];
const MAPS: &[Type] = &[Type::ANY_MAP, Type::ANY_MAP];
const MAP_AND_KEY: &[Type] = &[Type::ANY_MAP, Type::String];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::variadic("dict", &[Type::Any], dict),
    Function::new("get", MAP_AND_KEY, |_, args| {
        let found = args.map(0)?.get(args.text(1)?);
        Ok(found.unwrap_or_else(|| "".into()))
    }),
    Function::new(
        "set",
        &[Type::ANY_MAP, Type::String, Type::Any],
        |_, args| {
            let map = args.map(0)?;
            map.insert(args.text(1)?.clone(), args.any(2).clone())?;
            Ok(map.clone().into())
        },
    ),
    Function::new("unset", MAP_AND_KEY, |_, args| {
        let map = args.map(0)?;
        drop(map.remove(args.text(1)?));
        Ok(map.clone().into())
    }),
    Function::new("hasKey", MAP_AND_KEY, |_, args| {
        Ok(args.map(0)?.contains(args.text(1)?).into())
    }),
    Function::variadic("pluck", &[Type::String, Type::ANY_MAP], |_, args| {
        let key = args.text(0)?;
        let maps = args.rest(1).iter().filter_map(Value::as_map);
        Ok(Value::list(maps.filter_map(|map| map.get(key)).collect()))
    }),
    Function::variadic("keys", MAP, |_, args| {
        let maps = args.all().iter().filter_map(Value::as_map);
        Ok(List::strings(maps.flat_map(Map::keys)).into())
    }),
    Function::new("values", MAP, |_, args| {
        let entries = args.map(0)?.entries();
        Ok(Value::list(
            entries.into_iter().map(|(_, value)| value).collect(),
        ))
    }),
    Function::variadic("pick", MAP_AND_KEY, pick),
    Function::variadic("omit", MAP_AND_KEY, omit),
    Function::variadic("dig", &[Type::Any], dig),
    Function::variadic("merge", MAPS, |_, args| {
        Ok(lenient(args, merge::Mode::Fill))
    }),
    Function::variadic("mergeOverwrite", MAPS, |_, args| {
        Ok(lenient(args, merge::Mode::Overwrite))
    }),
    Function::variadic("mustMerge", MAPS, |_, args| {
        merge_all(args, merge::Mode::Fill)
    }),
    Function::variadic("mustMergeOverwrite", MAPS, |_, args| {
        merge_all(args, merge::Mode::Overwrite)
    }),
    Function::new("deepCopy", &[Type::Any], deep_copy),
    Function::new("mustDeepCopy", &[Type::Any], deep_copy),
];

fn dict(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let map = Map::new();
    for pair in args.all().chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| "".into());
        map.insert(cast::to_text(&pair[0])?, value)?;
    }
    Ok(map.into())
}

fn pick(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let (map, picked) = (args.map(0)?, Map::new());
    for key in args.rest(1).iter().filter_map(Value::as_text) {
        if let Some(value) = map.get(key) {
            picked.insert(key.clone(), value)?;
        }
    }
    Ok(picked.into())
}

fn omit(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let kept = Map::new();
    for (key, value) in args.map(0)?.entries() {
        let is_key = |omitted: &Value| omitted.as_text() == Some(&key);
        if !args.rest(1).iter().any(is_key) {
            kept.insert(key, value)?;
        }
    }
    Ok(kept.into())
}

/// Returns the value at a path of keys, or the default after them.
fn dig(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let [path @ .., default, root] = args.all() else {
        return Err(FunctionError::new("dig needs at least three arguments"));
    };
    if path.is_empty() {
        return Err(FunctionError::new("dig needs at least three arguments"));
    }
    let mut map = expect_map(root)?.clone();
    let keys: Vec<_> = path.iter().map(expect_text).collect::<Result<_, _>>()?;
    for (index, key) in keys.iter().enumerate() {
        let Some(step) = map.get(key) else {
            return Ok(default.clone());
        };
        if index + 1 == keys.len() {
            return Ok(step);
        }
        map = expect_map(&step)?.clone();
    }
    Ok(default.clone())
}

/// Performs Go's type assertion, which a named map type does not satisfy: `.Values` must be passed as `.Values.AsMap`.
fn expect_map(value: &Value) -> Result<&Map, FunctionError> {
    match value {
        Value::Map(map) if map.go_type() == Type::ANY_MAP => Ok(map),
        other => Err(conversion(other, Type::ANY_MAP)),
    }
}

fn expect_text(value: &Value) -> Result<&[u8], FunctionError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(conversion(other, Type::String)),
    }
}

/// Returns Go's message for a failed type assertion.
pub(crate) fn conversion(value: &Value, wanted: Type) -> FunctionError {
    let is = match value {
        Value::Nil => "nil".to_owned(),
        other => other.go_type().to_string(),
    };
    FunctionError::new(format_args!(
        "interface conversion: interface {{}} is {is}, not {wanted}"
    ))
}

fn merge_all(args: Args<'_>, mode: merge::Mode) -> Outcome {
    // The target map may be nil. A new one then takes its place.
    let mut target = args.map(0)?.clone();
    for source in args.rest(1).iter().filter_map(Value::as_map) {
        if target.is_nil() && !source.is_nil() {
            target = Map::new();
        }
        merge::into(&target, source, mode)?;
    }
    Ok(target.into())
}

/// Merges without `must`, so an error becomes an empty string.
fn lenient(args: Args<'_>, mode: merge::Mode) -> Value {
    merge_all(args, mode).unwrap_or_else(|_| "".into())
}

fn deep_copy(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    match args.any(0) {
        Value::Nil => Err(FunctionError::new(
            "reflect: call of reflect.Value.Type on zero Value",
        )),
        value => copy(call, value, MAX_NESTING),
    }
}

fn copy(call: &mut dyn Call, value: &Value, depth: usize) -> Outcome {
    if depth == 0 {
        return Err(FunctionError::new(format_args!(
            "a value is nested more than {MAX_NESTING} levels deep, or contains itself, and cannot be copied"
        )));
    }
    call.charge(size_of::<Value>())?;
    match value {
        Value::List(list) if !list.is_nil() && list.as_bytes().is_none() => {
            let items = list.iter().map(|item| copy(call, &item, depth - 1));
            let items = items.collect::<Result<_, _>>()?;
            Ok(List::typed(list.go_type(), items).into())
        }
        Value::Map(map) if !map.is_nil() => {
            let copied = Map::typed(map.go_type());
            for (key, value) in map.entries() {
                copied.insert(key, copy(call, &value, depth - 1)?)?;
            }
            Ok(copied.into())
        }
        Value::Object(object) => Ok(object.deep_copied().unwrap_or_else(|| value.clone())),
        other => Ok(other.clone()),
    }
}
