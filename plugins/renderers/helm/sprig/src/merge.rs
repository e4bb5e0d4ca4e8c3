//! Merges dictionaries as the library `mergo` does for sprig, including what look like its mistakes.

use pintle_gotemplate::{FunctionError, Kind, Map, Type, Value, value::MAX_NESTING};

use crate::cast;

/// The treatment of values that the target already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They stay, unless they are empty.
    Fill,
    /// The source's values replace them, including empty ones and nil. Only maps are merged.
    Overwrite,
}

/// Merges `source` into `target`, which is changed in place. Values are shared, not copied.
pub(crate) fn into(target: &Map, source: &Map, mode: Mode) -> Result<(), FunctionError> {
    merge(target, source, mode, MAX_NESTING)
}

fn merge(target: &Map, source: &Map, mode: Mode, depth: usize) -> Result<(), FunctionError> {
    if depth == 0 {
        return Err(FunctionError::new(format_args!(
            "dictionaries nested more than {MAX_NESTING} levels deep, or in themselves, cannot be merged"
        )));
    }
    if target.same(source) {
        return Ok(());
    }
    let overwrite = mode == Mode::Overwrite;
    for (key, new) in source.entries() {
        if matches!(new, Value::Nil) {
            if overwrite {
                put(target, &key, new)?;
            }
            continue;
        }
        let old = target.get(&key).unwrap_or_default();
        match (&new, &old) {
            (Value::Map(new), Value::Map(old)) if !old.is_nil() => {
                merge(old, new, mode, depth - 1)?;
            }
            (Value::Map(_), old) if old.kind() == Kind::Pointer && !overwrite => {
                return Err(FunctionError::new("src and dst must be of same type"));
            }
            _ => {}
        }
        // This check comes after the maps are merged, when an empty one may no longer be empty.
        let had_none = cast::is_empty(&old);
        let merged = matches!((&new, &old), (Value::Map(_), Value::Map(_))) && !had_none;
        if had_none || (overwrite && !merged) {
            put(target, &key, new)?;
        }
    }
    Ok(())
}

/// Stores a value. A map with a narrower element type accepts only that type, with the message of Go's reflection.
fn put(target: &Map, key: &[u8], value: Value) -> Result<(), FunctionError> {
    let elem = target.go_type().elem();
    if elem != Type::Any && value.go_type() != elem {
        return Err(FunctionError::new(format_args!(
            "reflect.Value.SetMapIndex: value of type interface {{}} is not assignable to type {elem}"
        )));
    }
    Ok(target.insert(key, value)?)
}
