//! `time.Time` as templates see it.

use std::any::Any;

use pintle_gotemplate::{
    Args, Function, FunctionError, Kind, Map, Named, Object, Text, Type, Value,
};

use super::{Duration, Month, Weekday};
use crate::go::{time::Time, zone::Zone};

/// A `time.Time`.
#[derive(Clone, Debug)]
pub(crate) struct Moment(pub(crate) Time);

/// The type `time.Time`.
pub(crate) const TIME: Type = Type::Named(&NAMED);

static NAMED: Named = Named {
    name: "time.Time",
    kind: Kind::Struct,
    underlying: None,
    methods: &[],
};

impl Moment {
    pub(crate) fn value(time: Time) -> Value {
        Value::object(Self(time))
    }
}

impl Object for Moment {
    fn go_type(&self) -> Type {
        TIME
    }

    fn method(&self, name: &[u8]) -> Option<&'static Function> {
        Function::find(METHODS, name)
    }

    fn string(&self) -> Option<Text> {
        Some(
            self.0
                .format(b"2006-01-02 15:04:05.999999999 -0700 MST")
                .into(),
        )
    }

    /// Returns its components, which verbs for other types show: nanoseconds, seconds since the year 1, and no pointer to UTC.
    fn fields(&self) -> Vec<(&'static str, Value)> {
        const SINCE_YEAR_1: i64 = 62_135_596_800;
        vec![
            ("wall", Value::uint64(self.0.nanos.into())),
            (
                "ext",
                Value::int64(self.0.seconds.wrapping_add(SINCE_YEAR_1)),
            ),
            ("loc", Value::object(Location(None))),
        ]
    }

    /// Returns the time as encoders write it: RFC 3339 with nanoseconds.
    fn to_plain(&self) -> Value {
        Value::string(self.0.format(RFC_3339_NANO))
    }

    fn equals(&self, other: &dyn Object) -> bool {
        let other: Option<&Self> = other.as_any().downcast_ref();
        other.is_some_and(|other| self.0 == other.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A `*time.Location`. In a `time.Time` in UTC, this is a nil pointer.
#[derive(Debug)]
struct Location(Option<Zone>);

static LOCATION: Named = Named {
    name: "*time.Location",
    kind: Kind::Pointer,
    underlying: None,
    methods: &[],
};

impl Object for Location {
    fn go_type(&self) -> Type {
        Type::Named(&LOCATION)
    }

    fn method(&self, name: &[u8]) -> Option<&'static Function> {
        Function::find(LOCATION_METHODS, name)
    }

    fn string(&self) -> Option<Text> {
        self.0.as_ref().map(|zone| zone.name().into())
    }

    fn is_nil(&self) -> bool {
        self.0.is_none()
    }

    /// Returns an empty map for a location, because no field of the struct is exported.
    fn to_plain(&self) -> Value {
        match self.0 {
            Some(_) => Map::new().into(),
            None => Value::Nil,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

const LOCATION_METHODS: &[Function] = &[Function::method("String", &[], |_, args| {
    let name = args.receiver::<Location>()?.string();
    Ok(name.unwrap_or_default().into())
})];

const RFC_3339_NANO: &[u8] = b"2006-01-02T15:04:05.999999999Z07:00";

fn time(args: Args<'_>) -> Result<&Time, FunctionError> {
    Ok(&args.receiver::<Moment>()?.0)
}

fn other(args: Args<'_>) -> Result<&Time, FunctionError> {
    Ok(&args.object::<Moment>(1)?.0)
}

fn in_zone(args: Args<'_>, zone: Zone) -> Result<Value, FunctionError> {
    let mut time = time(args)?.clone();
    time.zone = zone;
    Ok(Moment::value(time))
}

/// Returns the seconds in units below a second. A result that exceeds 64 bits wraps around, as in Go.
fn unix_in(args: Args<'_>, per_second: i64) -> Result<Value, FunctionError> {
    let time = time(args)?;
    let part = i64::from(time.nanos) / (1_000_000_000 / per_second);
    Ok(Value::int64(
        time.seconds.wrapping_mul(per_second).wrapping_add(part),
    ))
}

/// Returns the sign of the distance to another moment.
fn compare(args: Args<'_>) -> Result<i64, FunctionError> {
    let (one, two) = (time(args)?, other(args)?);
    let ordering = (one.seconds, one.nanos).cmp(&(two.seconds, two.nanos));
    Ok(ordering as i64)
}

const METHODS: &[Function] = &[
    Function::method("String", &[], |_, args| {
        let text = args.receiver::<Moment>()?.string();
        Ok(text.unwrap_or_default().into())
    }),
    Function::method("Format", &[Type::String], |_, args| {
        Ok(Value::string(time(args)?.format(args.text(1)?)))
    }),
    Function::method("Unix", &[], |_, args| unix_in(args, 1)),
    Function::method("UnixMilli", &[], |_, args| unix_in(args, 1_000)),
    Function::method("UnixMicro", &[], |_, args| unix_in(args, 1_000_000)),
    Function::method("UnixNano", &[], |_, args| unix_in(args, 1_000_000_000)),
    Function::method("Year", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().year))
    }),
    Function::method("Month", &[], |_, args| {
        Ok(Value::object(Month(time(args)?.civil().month)))
    }),
    Function::method("Day", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().day.into()))
    }),
    Function::method("Weekday", &[], |_, args| {
        Ok(Value::object(Weekday(time(args)?.civil().weekday)))
    }),
    Function::method("YearDay", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().day_of_year.into()))
    }),
    Function::method("Hour", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().hour.into()))
    }),
    Function::method("Minute", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().minute.into()))
    }),
    Function::method("Second", &[], |_, args| {
        Ok(Value::int(time(args)?.civil().second.into()))
    }),
    Function::method("Nanosecond", &[], |_, args| {
        Ok(Value::int(time(args)?.nanos.into()))
    }),
    Function::method("IsZero", &[], |_, args| Ok(time(args)?.is_zero().into())),
    Function::method("UTC", &[], |_, args| in_zone(args, Zone::Utc)),
    Function::method("Local", &[], |_, args| in_zone(args, Zone::Utc)),
    Function::method("Location", &[], |_, args| {
        Ok(Value::object(Location(Some(time(args)?.zone.clone()))))
    }),
    Function::method("Add", &[Duration::TYPE], |_, args| {
        let change: &Duration = args.object(1)?;
        Ok(Moment::value(time(args)?.add(change.0)))
    }),
    Function::method("AddDate", &[Type::INT, Type::INT, Type::INT], |_, args| {
        let (time, civil) = (time(args)?, time(args)?.civil());
        let date = (
            civil.year.saturating_add(args.int(1)?),
            i64::from(civil.month).saturating_add(args.int(2)?),
            i64::from(civil.day).saturating_add(args.int(3)?),
        );
        let clock = (civil.hour.into(), civil.minute.into(), civil.second.into());
        let moved = Time::from_civil(date, clock, time.nanos.into(), time.zone.clone());
        Ok(Moment::value(moved))
    }),
    Function::method("Sub", &[TIME], |_, args| {
        Ok(Value::object(Duration(time(args)?.since(other(args)?))))
    }),
    Function::method("Truncate", &[Duration::TYPE], |_, args| {
        rounded(args, |rest, _| -rest)
    }),
    Function::method("Round", &[Duration::TYPE], |_, args| {
        rounded(
            args,
            |rest, unit| if rest * 2 < unit { -rest } else { unit - rest },
        )
    }),
    Function::method("Before", &[TIME], |_, args| Ok((compare(args)? < 0).into())),
    Function::method("After", &[TIME], |_, args| Ok((compare(args)? > 0).into())),
    Function::method("Equal", &[TIME], |_, args| Ok((compare(args)? == 0).into())),
    Function::method("Compare", &[TIME], |_, args| Ok(Value::int(compare(args)?))),
];

/// Rounds relative to Go's zero time. `change` determines the adjustment from the remainder of a unit.
fn rounded(args: Args<'_>, change: impl Fn(i128, i128) -> i128) -> Result<Value, FunctionError> {
    let (time, unit) = (time(args)?, args.object::<Duration>(1)?.0);
    if unit <= 0 {
        return Ok(args.any(0).clone());
    }
    let since_zero = i128::from(time.seconds) - i128::from(Time::zero().seconds);
    let total = since_zero * 1_000_000_000 + i128::from(time.nanos);
    let unit = i128::from(unit);
    let by = change(total.rem_euclid(unit), unit);
    Ok(Moment::value(
        time.add(i64::try_from(by).unwrap_or_default()),
    ))
}
