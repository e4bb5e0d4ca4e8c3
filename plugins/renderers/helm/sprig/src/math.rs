//! Numeric functions. Integers wrap around like Go's `int64`, and the functions that end in `f` compute with decimals.

use pintle_gotemplate::{Args, Call, Function, FunctionError, List, Type, Value};

use crate::{
    Outcome, cast,
    decimal::{Decimal, DecimalError},
    go::{float, number, panic},
};

const ONE: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("atoi", &[Type::String], |_, args| {
        Ok(Value::int(number::atoi(args.text(0)?)))
    }),
    Function::new("int", ONE, |_, args| {
        Ok(Value::int(cast::to_int(args.any(0))))
    }),
    Function::new("int64", ONE, |_, args| {
        Ok(Value::int64(cast::to_int(args.any(0))))
    }),
    Function::new("float64", ONE, |_, args| {
        Ok(cast::to_float(args.any(0)).into())
    }),
    Function::new("toDecimal", ONE, |_, args| {
        let text = cast::printed(args.any(0))?;
        Ok(Value::int64(
            number::parse_int(&text, 8).unwrap_or_default(),
        ))
    }),
    Function::new("add1", ONE, |_, args| {
        Ok(Value::int64(cast::to_int(args.any(0)).wrapping_add(1)))
    }),
    Function::variadic("add", ONE, |_, args| {
        let numbers = args.all().iter().map(cast::to_int);
        Ok(Value::int64(numbers.fold(0, i64::wrapping_add)))
    }),
    Function::new("sub", TWO, |_, args| {
        let (one, two) = pair(args);
        Ok(Value::int64(one.wrapping_sub(two)))
    }),
    Function::new("div", TWO, |_, args| divided(args, i64::wrapping_div)),
    Function::new("mod", TWO, |_, args| divided(args, i64::wrapping_rem)),
    Function::variadic("mul", TWO, |_, args| {
        let numbers = args.all().iter().map(cast::to_int);
        Ok(Value::int64(numbers.fold(1, i64::wrapping_mul)))
    }),
    Function::variadic("max", TWO, |_, args| Ok(largest(args))),
    Function::variadic("biggest", TWO, |_, args| Ok(largest(args))),
    Function::variadic("min", TWO, |_, args| {
        let least = args.all().iter().map(cast::to_int).min();
        Ok(Value::int64(least.unwrap_or_default()))
    }),
    Function::variadic("maxf", TWO, |_, args| Ok(fold(args, float::max))),
    Function::variadic("minf", TWO, |_, args| Ok(fold(args, float::min))),
    Function::new("ceil", ONE, |_, args| {
        Ok(cast::to_float(args.any(0)).ceil().into())
    }),
    Function::new("floor", ONE, |_, args| {
        Ok(cast::to_float(args.any(0)).floor().into())
    }),
    Function::variadic("round", &[Type::Any, Type::INT, Type::Float64], round),
    Function::new("add1f", ONE, |_, args| {
        decimals(args.any(0), &[Value::int(1)], |one, two| Ok(one.add(two)))
    }),
    Function::variadic("addf", ONE, |_, args| {
        decimals(&Value::from(0.0), args.all(), |one, two| Ok(one.add(two)))
    }),
    Function::variadic("subf", TWO, |_, args| {
        decimals(args.any(0), args.rest(1), |one, two| Ok(one.sub(two)))
    }),
    Function::variadic("mulf", TWO, |_, args| {
        decimals(args.any(0), args.rest(1), |one, two| Ok(one.mul(two)))
    }),
    Function::variadic("divf", TWO, |_, args| {
        decimals(args.any(0), args.rest(1), Decimal::div)
    }),
    Function::new("until", &[Type::INT], |call, args| {
        let stop = args.int(0)?;
        let step = if stop < 0 { -1 } else { 1 };
        Ok(List::ints(range(call, 0, stop, step)?).into())
    }),
    Function::new(
        "untilStep",
        &[Type::INT, Type::INT, Type::INT],
        |call, args| Ok(List::ints(range(call, args.int(0)?, args.int(1)?, args.int(2)?)?).into()),
    ),
    Function::variadic("seq", &[Type::INT], seq),
];

fn pair(args: Args<'_>) -> (i64, i64) {
    (cast::to_int(args.any(0)), cast::to_int(args.any(1)))
}

fn divided(args: Args<'_>, divide: impl Fn(i64, i64) -> i64) -> Outcome {
    match pair(args) {
        (_, 0) => Err(panic::divide_by_zero()),
        (one, two) => Ok(Value::int64(divide(one, two))),
    }
}

fn largest(args: Args<'_>) -> Value {
    let largest = args.all().iter().map(cast::to_int).max();
    Value::int64(largest.unwrap_or_default())
}

fn fold(args: Args<'_>, of: impl Fn(f64, f64) -> f64) -> Value {
    let numbers = args.all().iter().map(cast::to_float);
    numbers.reduce(of).unwrap_or_default().into()
}

/// Rounds to a number of decimal places. It rounds up from the given fraction of a unit on, one half by default. Negative numbers
/// are always rounded down, because Go's fraction of them is also negative.
fn round(_: &mut dyn Call, args: Args<'_>) -> Outcome {
    let number = cast::to_float(args.any(0));
    let up_from = if args.len() > 2 { args.float(2)? } else { 0.5 };
    let power = float::power_of_ten(args.int(1)?);
    let digit = power * number;
    let fraction = if digit.is_infinite() {
        f64::NAN
    } else {
        digit - digit.trunc()
    };
    let rounded = if fraction >= up_from {
        digit.ceil()
    } else {
        digit.floor()
    };
    Ok((rounded / power).into())
}

/// Converts the numbers to decimals, combines them from left to right, and converts the result back.
fn decimals(
    first: &Value,
    rest: &[Value],
    combine: impl Fn(&Decimal, &Decimal) -> Result<Decimal, DecimalError>,
) -> Outcome {
    let decimal = |value: &Value| Decimal::from_float(cast::to_float(value));
    let mut result = decimal(first)?;
    for value in rest {
        result = combine(&result, &decimal(value)?)?;
    }
    Ok(result.to_float().into())
}

/// Returns the numbers from `start` up or down to before `end`.
fn range(call: &mut dyn Call, start: i64, end: i64, step: i64) -> Result<Vec<i64>, FunctionError> {
    let down = end < start;
    if (down && step >= 0) || (!down && step <= 0) {
        return Ok(Vec::new());
    }
    let count = start.abs_diff(end).div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    call.charge(count.saturating_mul(size_of::<Value>()))?;
    let mut numbers = Vec::with_capacity(count);
    let mut next = Some(start);
    while let Some(number) = next.filter(|&next| if down { next > end } else { next < end }) {
        numbers.push(number);
        next = number.checked_add(step);
    }
    Ok(numbers)
}

/// Returns the numbers of the program `seq`: to an end, from a start to an end, or with a step between them.
fn seq(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let params: Vec<i64> = (0..args.len())
        .map(|index| args.int(index))
        .collect::<Result<_, _>>()?;
    let toward = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let (start, step, end) = match params[..] {
        [end] => (1, toward(1, end), end),
        [start, end] => (start, toward(start, end), end),
        [start, step, end] if end >= start || step <= 0 => (start, step, end),
        _ => return Ok("".into()),
    };
    let numbers = range(call, start, end.wrapping_add(toward(start, end)), step)?;
    // Each number temporarily becomes a string of at most 20 digits.
    call.charge(numbers.len().saturating_mul(2 * size_of::<String>()))?;
    let texts: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    Ok(texts.join(" ").into())
}
