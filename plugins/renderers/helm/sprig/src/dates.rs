//! Dates and durations. The local zone is UTC, and the current time is the time given to the render.

mod durations;
mod moment;
mod names;

use pintle_goencoding::toml::{DateTime, Offset};
use pintle_gotemplate::{Args, Call, Function, FunctionError, IntKind, Type, Value};

pub(crate) use durations::{Duration, FUNCTIONS as DURATION_FUNCTIONS};
pub(crate) use moment::{Moment, TIME};
pub(crate) use names::{Month, Weekday};

use crate::{
    Clock, ClockSource, Outcome,
    go::{
        duration::{self, HOUR, MINUTE, SECOND},
        number, parse_time,
        time::Time,
        zone::Zone,
    },
};

const LAYOUT_AND_DATE: &[Type] = &[Type::String, Type::Any];
const DATE_IN_ZONE: &[Type] = &[Type::String, Type::Any, Type::String];
const MODIFY: &[Type] = &[Type::String, TIME];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new("now", &[], |call, _| Ok(Moment::value(now(call)?))),
    Function::new("date", LAYOUT_AND_DATE, |call, args| {
        formatted(call, args.text(0)?, args.any(1), b"Local")
    }),
    Function::new("htmlDate", &[Type::Any], |call, args| {
        formatted(call, b"2006-01-02", args.any(0), b"Local")
    }),
    Function::new(
        "htmlDateInZone",
        &[Type::Any, Type::String],
        |call, args| formatted(call, b"2006-01-02", args.any(0), args.text(1)?),
    ),
    Function::new("dateInZone", DATE_IN_ZONE, date_in_zone),
    Function::new("date_in_zone", DATE_IN_ZONE, date_in_zone),
    Function::new("dateModify", MODIFY, |_, args| Ok(modify_leniently(args))),
    Function::new("date_modify", MODIFY, |_, args| Ok(modify_leniently(args))),
    Function::new("mustDateModify", MODIFY, |_, args| modify(args)),
    Function::new("must_date_modify", MODIFY, |_, args| modify(args)),
    Function::new("ago", &[Type::Any], ago),
    Function::new("duration", &[Type::Any], |_, args| {
        let seconds = match args.any(0) {
            Value::String(text) => match number::parse_int(text, 10) {
                Ok(number) | Err(number::NumberError::Range(number)) => number,
                Err(number::NumberError::Syntax) => 0,
            },
            other => int64(other).unwrap_or_default(),
        };
        Ok(duration::to_string(seconds.wrapping_mul(SECOND)).into())
    }),
    Function::new("durationRound", &[Type::Any], duration_round),
    Function::new("toDate", &[Type::String, Type::String], |_, args| {
        let parsed = parse_time::parse(args.text(0)?, args.text(1)?);
        Ok(Moment::value(parsed.unwrap_or_else(|_| Time::zero())))
    }),
    Function::new("mustToDate", &[Type::String, Type::String], |_, args| {
        let parsed = parse_time::parse(args.text(0)?, args.text(1)?);
        parsed.map(Moment::value).map_err(FunctionError::new)
    }),
    Function::new("unixEpoch", &[TIME], |_, args| {
        let moment: &Moment = args.object(0)?;
        Ok(moment.0.seconds.to_string().into())
    }),
];

/// Converts a date or time to the `time.Time` that `fromToml` makes of it.
///
/// Without an offset, the time is in UTC, in a zone that Go's library names after what is missing.
pub fn toml_time(time: &DateTime) -> Value {
    let zone = match (time.offset, time.offset.location()) {
        (_, Some(name)) => Zone::fixed(name.as_bytes(), 0),
        (Offset::Known(seconds), None) if seconds != 0 => Zone::fixed(b"", seconds.into()),
        _ => Zone::Utc,
    };
    let date = (time.year.into(), time.month.into(), time.day.into());
    let clock = (time.hour.into(), time.minute.into(), time.second.into());
    Moment::value(Time::from_civil(date, clock, time.nanos.into(), zone))
}

/// Returns the time given to the render.
pub(crate) fn now(call: &dyn Call) -> Result<Time, FunctionError> {
    let state = call.state();
    let clock = match state.get::<Clock>() {
        Some(clock) => Some(*clock),
        None => state.get::<ClockSource>().map(ClockSource::ask),
    };
    let clock = clock.ok_or_else(|| {
        FunctionError::new(
            "what time it is was not said to this render: its caller must give a clock",
        )
    })?;
    Ok(Time::new(clock.seconds, clock.nanoseconds, Zone::Utc))
}

/// Returns the number if it is an `int64`. Where sprig requires one, no other integer type counts.
fn int64(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) if int.kind() == IntKind::Int64 => Some(int.wrapping_i64()),
        _ => None,
    }
}

/// Returns a time, or the time of a number of seconds since 1970, or the current time for anything else.
fn moment_of(call: &dyn Call, value: &Value, kinds: &[IntKind]) -> Result<Time, FunctionError> {
    match value {
        Value::Int(int) if kinds.contains(&int.kind()) => {
            Ok(Time::new(int.wrapping_i64(), 0, Zone::Utc))
        }
        other => match other.downcast::<Moment>() {
            Some(moment) => Ok(moment.0.clone()),
            None => now(call),
        },
    }
}

fn formatted(call: &mut dyn Call, layout: &[u8], date: &Value, zone: &[u8]) -> Outcome {
    let kinds = [IntKind::Int64, IntKind::Int, IntKind::Int32];
    let mut time = moment_of(call, date, &kinds)?;
    time.zone = Zone::load(zone).unwrap_or(Zone::Utc);
    // The longest element is a month's name with nine letters, for three in the layout.
    call.charge(layout.len().saturating_mul(4))?;
    Ok(Value::string(time.format(layout)))
}

fn date_in_zone(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    formatted(call, args.text(0)?, args.any(1), args.text(2)?)
}

fn modify(args: Args<'_>) -> Outcome {
    let moment: &Moment = args.object(1)?;
    let change = duration::parse(args.text(0)?).map_err(FunctionError::new)?;
    Ok(Moment::value(moment.0.add(change)))
}

/// Without `must`, a text that is not a duration changes nothing.
fn modify_leniently(args: Args<'_>) -> Value {
    modify(args).unwrap_or_else(|_| args.any(1).clone())
}

fn ago(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    let time = moment_of(call, args.any(0), &[IntKind::Int64, IntKind::Int])?;
    let since = duration::round(now(call)?.since(&time), SECOND);
    Ok(duration::to_string(since).into())
}

/// Returns the duration in the largest unit that it exceeds, truncated to a whole number.
fn duration_round(call: &mut dyn Call, args: Args<'_>) -> Outcome {
    const DAY: i64 = 24 * HOUR;
    let nanoseconds = match args.any(0) {
        Value::String(text) => duration::parse(text).unwrap_or_default(),
        other => match other.downcast::<Moment>() {
            Some(moment) => now(call)?.since(&moment.0),
            None => int64(other).unwrap_or_default(),
        },
    };
    let units = [
        (365 * DAY, "y"),
        (30 * DAY, "mo"),
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (SECOND, "s"),
    ];
    let size = nanoseconds.unsigned_abs();
    let found = units
        .into_iter()
        .find(|(unit, _)| size > unit.unsigned_abs());
    Ok(match found {
        Some((unit, name)) => format!("{}{name}", size / unit.unsigned_abs()).into(),
        None => "0s".into(),
    })
}
