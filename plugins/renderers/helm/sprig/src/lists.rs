//! List functions. sprig has two variants of each: the one with the prefix `must` returns errors where the other panics. A
//! template sees the same result either way.

use pintle_gotemplate::{
    Args, Call, Function, FunctionError, Kind, List, Type, Value,
    value::{clamp_to_usize, deep_equal},
};

use crate::{Outcome, cast, go::panic};

const ONE: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::variadic("list", ONE, |_, args| Ok(list(args))),
    Function::variadic("tuple", ONE, |_, args| Ok(list(args))),
    Function::new("append", TWO, push),
    Function::new("push", TWO, push),
    Function::new("mustAppend", TWO, push),
    Function::new("mustPush", TWO, push),
    Function::new("prepend", TWO, prepend),
    Function::new("mustPrepend", TWO, prepend),
    Function::new("first", ONE, first),
    Function::new("mustFirst", ONE, first),
    Function::new("last", ONE, last),
    Function::new("mustLast", ONE, last),
    Function::new("rest", ONE, rest),
    Function::new("mustRest", ONE, rest),
    Function::new("initial", ONE, initial),
    Function::new("mustInitial", ONE, initial),
    Function::new("reverse", ONE, reverse),
    Function::new("mustReverse", ONE, reverse),
    Function::new("compact", ONE, compact),
    Function::new("mustCompact", ONE, compact),
    Function::new("uniq", ONE, uniq),
    Function::new("mustUniq", ONE, uniq),
    Function::variadic("without", TWO, without),
    Function::variadic("mustWithout", TWO, without),
    Function::new("has", TWO, has),
    Function::new("mustHas", TWO, has),
    Function::variadic("slice", TWO, slice),
    Function::variadic("mustSlice", TWO, slice),
    Function::variadic("concat", ONE, concat),
    Function::new("chunk", &[Type::INT, Type::Any], chunk),
    Function::new("mustChunk", &[Type::INT, Type::Any], chunk),
    Function::new("sortAlpha", ONE, sort_alpha),
];

/// `[][]interface {}`
const ANY_SLICES: Type = Type::Slice(&Type::ANY_SLICE);

/// Returns the list among the arguments, or an error that explains what cannot be done with the value there instead.
fn expect_list(value: &Value, cannot: &str) -> Result<List, FunctionError> {
    match value {
        Value::Nil => Err(panic::nil_dereference()),
        Value::List(list) => Ok(list.clone()),
        other => match other.to_plain() {
            Value::List(list) if other.kind() == Kind::Slice => Ok(list),
            _ => Err(FunctionError::new(format_args!(
                "{cannot} {}",
                other.kind()
            ))),
        },
    }
}

/// Pays for this many additional items.
fn charge_items(call: &mut dyn Call, count: usize) -> Result<(), FunctionError> {
    call.charge(count.saturating_mul(size_of::<Value>()))
}

/// Pays for a list of this many items that usually replaces another one, which is work rather than memory. Templates build lists
/// of 20,000 items one by one, with a copy each time.
fn charge_copy(call: &mut dyn Call, count: usize) -> Result<(), FunctionError> {
    call.charge(count.saturating_mul(size_of::<Value>() / 8))
}

fn nil_list() -> Value {
    List::nil(Type::ANY_SLICE).into()
}

fn list(args: Args<'_>) -> Value {
    Value::list(args.all().to_vec())
}

fn push(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot push on type")?;
    charge_copy(call, list.len())?;
    let mut items = list.items().into_owned();
    items.push(args.any(1).clone());
    Ok(Value::list(items))
}

fn prepend(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot prepend on type")?;
    charge_copy(call, list.len())?;
    let items = std::iter::once(args.any(1).clone()).chain(list.iter());
    Ok(Value::list(items.collect()))
}

fn first(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find first on type")?;
    Ok(list.get(0).unwrap_or_default())
}

fn last(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find last on type")?;
    let index = list.len().checked_sub(1);
    Ok(index.and_then(|index| list.get(index)).unwrap_or_default())
}

fn rest(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find rest on type")?;
    charge_copy(call, list.len())?;
    Ok(match list.items().split_first() {
        Some((_, rest)) => Value::list(rest.to_vec()),
        None => nil_list(),
    })
}

fn initial(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find initial on type")?;
    charge_copy(call, list.len())?;
    Ok(match list.items().split_last() {
        Some((_, initial)) => Value::list(initial.to_vec()),
        None => nil_list(),
    })
}

fn reverse(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find reverse on type")?;
    charge_copy(call, list.len())?;
    let mut items = list.items().into_owned();
    items.reverse();
    Ok(Value::list(items))
}

fn compact(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot compact on type")?;
    charge_copy(call, list.len())?;
    let items = list.iter().filter(|item| !cast::is_empty(item));
    Ok(Value::list(items.collect()))
}

fn uniq(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find uniq on type")?;
    let mut found: Vec<Value> = Vec::new();
    for item in list.iter() {
        charge_items(call, 1)?;
        if !contains(&found, &item) {
            found.push(item);
        }
    }
    Ok(Value::list(found))
}

fn without(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "Cannot find without on type")?;
    charge_copy(call, list.len())?;
    let omitted = args.rest(1);
    let items = list.iter().filter(|item| !contains(omitted, item));
    Ok(Value::list(items.collect()))
}

fn has(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    if matches!(args.any(1), Value::Nil) {
        return Ok(false.into());
    }
    let list = expect_list(args.any(1), "Cannot find has on type")?;
    Ok(contains(&list.items(), args.any(0)).into())
}

fn contains(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|item| deep_equal(item, wanted))
}

fn slice(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(0), "list should be type of slice or array but")?;
    if list.is_empty() {
        return Ok(Value::Nil);
    }
    let bound = |index: usize| args.rest(index).first().map(cast::to_int);
    let outside = || FunctionError::new("reflect.Value.Slice: slice index out of bounds");
    let start = usize::try_from(bound(1).unwrap_or(0)).map_err(|_| outside())?;
    let end = match bound(2) {
        Some(end) => usize::try_from(end).map_err(|_| outside())?,
        None => list.len(),
    };
    charge_copy(call, end.saturating_sub(start).min(list.len()))?;
    Ok(list.slice(start..end).ok_or_else(outside)?.into())
}

fn concat(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let mut all = Vec::new();
    for value in args.all() {
        let list = match value {
            Value::Nil => return Err(panic::nil_dereference()),
            other => expect_list(other, "").map_err(|_| {
                let kind = other.kind();
                FunctionError::new(format_args!("Cannot concat type {kind} as list"))
            })?,
        };
        charge_items(call, list.len())?;
        all.extend(list.iter());
    }
    Ok(if all.is_empty() {
        nil_list()
    } else {
        Value::list(all)
    })
}

fn chunk(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let list = expect_list(args.any(1), "Cannot chunk type")?;
    let size = args.int(0)?;
    charge_items(call, list.len())?;
    let items = list.items();
    let chunks = match size {
        0 => return Err(panic::make_slice()),
        1.. => items
            .chunks(clamp_to_usize(size))
            .map(|chunk| Value::list(chunk.to_vec()))
            .collect(),
        ..0 => negative_chunks(&items, size.unsigned_abs())?,
    };
    Ok(List::typed(ANY_SLICES, chunks).into())
}

/// Returns the result of Go's arithmetic for a negative size, which is usually empty or a panic.
fn negative_chunks(items: &[Value], size: u64) -> Result<Vec<Value>, FunctionError> {
    match items.len() as u64 {
        1 if size > 1 => Ok(vec![Value::list(items.to_vec())]),
        len if len > 1 && len - 1 <= size => Ok(Vec::new()),
        _ => Err(panic::make_slice()),
    }
}

fn sort_alpha(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let value = args.any(0);
    if value.kind() != Kind::Slice {
        return Ok(List::strings([cast::to_text(value)?]).into());
    }
    if let Value::List(list) = value
        && list.go_type() == Type::STRING_SLICE
    {
        // As in Go, strings are sorted in place, which every holder of the list sees.
        charge_copy(call, list.len())?;
        list.sort_texts();
        return Ok(value.clone());
    }
    let mut texts = cast::to_texts(&value.to_plain())?;
    charge_items(call, texts.len())?;
    texts.sort_unstable();
    Ok(List::strings(texts).into())
}

#[cfg(test)]
mod tests {
    use pintle_gotemplate::{Functions, Standalone};

    use super::*;

    #[test]
    fn only_texts_are_sorted_where_they_are() {
        let functions = Functions::from_tables(&[FUNCTIONS]);
        let sorted = |list: &Value| {
            let args = std::slice::from_ref(list);
            functions.call("sortAlpha", &mut Standalone::default(), args)
        };
        let in_order = || Value::from(List::strings(["a", "b"]));
        let texts = Value::from(List::strings(["b", "a"]));
        assert_eq!(sorted(&texts), Ok(in_order()));
        assert_eq!(texts, in_order());
        let any = Value::list(vec!["b".into(), "a".into()]);
        assert_eq!(sorted(&any), Ok(in_order()));
        assert_eq!(any, Value::list(vec!["b".into(), "a".into()]));
        let none = Value::from(List::nil(Type::STRING_SLICE));
        assert_eq!(sorted(&none), Ok(none.clone()));
    }
}
