//! `time.Duration` as templates see it, and the functions for durations that Helm adds to sprig's.

use std::any::Any;

use pintle_gotemplate::{
    Args, Function, FunctionError, IntKind, Kind, Named, Object, Text, Type, Value, print,
};
use thiserror::Error;

use crate::go::{
    duration::{self, HOUR, MINUTE, SECOND, in_units},
    float, strings,
};

/// A `time.Duration`: nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) i64);

static NAMED: Named = Named {
    name: "time.Duration",
    kind: Kind::Int(IntKind::Int64),
    underlying: Some(Type::INT64),
    methods: &[],
};

impl Duration {
    /// The type `time.Duration`.
    pub(crate) const TYPE: Type = Type::Named(&NAMED);
}

impl Object for Duration {
    fn go_type(&self) -> Type {
        Self::TYPE
    }

    fn method(&self, name: &[u8]) -> Option<&'static Function> {
        Function::find(METHODS, name)
    }

    fn string(&self) -> Option<Text> {
        Some(duration::to_string(self.0).into())
    }

    fn to_plain(&self) -> Value {
        Value::int64(self.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn nanoseconds(args: Args<'_>) -> Result<i64, FunctionError> {
    Ok(args.receiver::<Duration>()?.0)
}

const METHODS: &[Function] = &[
    Function::method("String", &[], |_, args| {
        Ok(duration::to_string(nanoseconds(args)?).into())
    }),
    Function::method("Hours", &[], |_, args| {
        Ok(in_units(nanoseconds(args)?, HOUR).into())
    }),
    Function::method("Minutes", &[], |_, args| {
        Ok(in_units(nanoseconds(args)?, MINUTE).into())
    }),
    Function::method("Seconds", &[], |_, args| {
        Ok(in_units(nanoseconds(args)?, SECOND).into())
    }),
    Function::method("Milliseconds", &[], |_, args| {
        Ok(Value::int64(nanoseconds(args)? / 1_000_000))
    }),
    Function::method("Microseconds", &[], |_, args| {
        Ok(Value::int64(nanoseconds(args)? / 1_000))
    }),
    Function::method("Nanoseconds", &[], |_, args| {
        Ok(Value::int64(nanoseconds(args)?))
    }),
    Function::method("Abs", &[], |_, args| {
        let absolute = nanoseconds(args)?.checked_abs().unwrap_or(i64::MAX);
        Ok(Value::object(Duration(absolute)))
    }),
    Function::method("Round", &[Duration::TYPE], |_, args| {
        let multiple: &Duration = args.object(1)?;
        Ok(Value::object(Duration(duration::round(
            nanoseconds(args)?,
            multiple.0,
        ))))
    }),
    Function::method("Truncate", &[Duration::TYPE], |_, args| {
        let multiple: &Duration = args.object(1)?;
        Ok(Value::object(Duration(duration::truncate(
            nanoseconds(args)?,
            multiple.0,
        ))))
    }),
];

const ONE: &[Type] = &[Type::Any];
const TWO: &[Type] = &[Type::Any, Type::Any];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("mustToDuration", ONE, |_, args| {
        let nanoseconds = convert(args.any(0)).map_err(FunctionError::new)?;
        Ok(Value::object(Duration(nanoseconds)))
    }),
    Function::new("durationSeconds", ONE, |_, args| {
        Ok(units(args, |it| in_units(it, SECOND)))
    }),
    Function::new("durationMinutes", ONE, |_, args| {
        Ok(units(args, |it| in_units(it, MINUTE)))
    }),
    Function::new("durationHours", ONE, |_, args| {
        Ok(units(args, |it| in_units(it, HOUR)))
    }),
    Function::new("durationDays", ONE, |_, args| {
        Ok(units(args, |it| in_units(it, HOUR) / 24.0))
    }),
    Function::new("durationWeeks", ONE, |_, args| {
        Ok(units(args, |it| in_units(it, HOUR) / 24.0 / 7.0))
    }),
    Function::new("durationMilliseconds", ONE, |_, args| {
        Ok(whole(args, 1_000_000))
    }),
    Function::new("durationMicroseconds", ONE, |_, args| {
        Ok(whole(args, 1_000))
    }),
    Function::new("durationNanoseconds", ONE, |_, args| Ok(whole(args, 1))),
    Function::new("durationRoundTo", TWO, |_, args| {
        Ok(to_multiple(args, duration::round))
    }),
    Function::new("durationTruncateTo", TWO, |_, args| {
        Ok(to_multiple(args, duration::truncate))
    }),
];

/// Returns the converted duration; 0 for a value that is not a duration.
fn units(args: Args<'_>, convert_to: impl Fn(i64) -> f64) -> Value {
    convert(args.any(0)).map_or(0.0, convert_to).into()
}

fn whole(args: Args<'_>, unit: i64) -> Value {
    Value::int64(convert(args.any(0)).unwrap_or_default() / unit)
}

/// Rounds to a multiple. Returns 0 for a value that is not a duration, and the value itself if the multiple is not one.
fn to_multiple(args: Args<'_>, round: impl Fn(i64, i64) -> i64) -> Value {
    let nanoseconds = match (convert(args.any(0)), convert(args.any(1))) {
        (Err(_), _) => 0,
        (Ok(nanoseconds), Err(_)) => nanoseconds,
        (Ok(nanoseconds), Ok(multiple)) => round(nanoseconds, multiple),
    };
    Value::object(Duration(nanoseconds))
}

/// The value cannot be converted to a duration. The messages are Helm's.
#[derive(Clone, Debug, Error, PartialEq)]
enum ConvertError {
    #[error("empty duration")]
    Empty,
    #[error("invalid duration")]
    Nil,
    #[error("could not parse duration {0}")]
    Text(String),
    #[error("duration seconds overflow: {0}")]
    Overflow(String),
    #[error("invalid duration seconds: {0}")]
    NotFinite(String),
    #[error("unsupported duration type {0}")]
    Type(Type),
}

/// Accepts durations, texts of durations, and numbers of seconds, which may also be texts.
fn convert(value: &Value) -> Result<i64, ConvertError> {
    match value {
        Value::Nil => Err(ConvertError::Nil),
        Value::String(text) => {
            let trimmed = strings::trim_space(text);
            if trimmed.is_empty() {
                return Err(ConvertError::Empty);
            }
            duration::parse(trimmed).or_else(|_| {
                if let Some(seconds) = float::parse(trimmed) {
                    return from_seconds(seconds);
                }
                let quoted = print::quote(text);
                Err(ConvertError::Text(
                    String::from_utf8_lossy(&quoted).into_owned(),
                ))
            })
        }
        Value::Int(int) => int
            .as_i64()
            .and_then(|seconds| seconds.checked_mul(SECOND))
            .ok_or_else(|| ConvertError::Overflow(int.to_string())),
        Value::Float(seconds) => from_seconds(*seconds),
        Value::Object(object) => match value.downcast::<Duration>() {
            Some(duration) => Ok(duration.0),
            None => match (object.go_type().kind(), object.to_plain()) {
                (Kind::Int(_), plain @ Value::Int(_)) => convert(&plain),
                _ => Err(ConvertError::Type(object.go_type())),
            },
        },
        other => Err(ConvertError::Type(other.go_type())),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked first, and parts of a nanosecond are cut as in Go"
)]
fn from_seconds(seconds: f64) -> Result<i64, ConvertError> {
    let printed = || {
        print::value(&Value::Float(seconds))
            .map(|text| text.to_string())
            .unwrap_or_default()
    };
    if !seconds.is_finite() {
        return Err(ConvertError::NotFinite(printed()));
    }
    let nanoseconds = seconds * SECOND as f64;
    if nanoseconds.abs() > i64::MAX as f64 {
        return Err(ConvertError::Overflow(printed()));
    }
    Ok(nanoseconds as i64)
}
