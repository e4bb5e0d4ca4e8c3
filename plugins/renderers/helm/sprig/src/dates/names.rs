//! The named numbers of Go's `time` package.

use std::any::Any;

use pintle_gotemplate::{Function, Int, IntKind, Kind, Named, Object, Text, Type, Value};

use crate::go::time::{MONTHS, WEEKDAYS};

/// A `time.Month`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Month(pub(crate) u8);

/// A `time.Weekday`, from Sunday, 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weekday(pub(crate) u8);

const fn named(name: &'static str, methods: &'static [Function]) -> Named {
    Named {
        name,
        kind: Kind::Int(IntKind::Int),
        underlying: Some(Type::INT),
        methods,
    }
}

static MONTH: Named = named(
    "time.Month",
    &[Function::method("String", &[], |_, args| {
        let text = args.receiver::<Month>()?.string();
        Ok(text.unwrap_or_default().into())
    })],
);
static WEEKDAY: Named = named(
    "time.Weekday",
    &[Function::method("String", &[], |_, args| {
        let text = args.receiver::<Weekday>()?.string();
        Ok(text.unwrap_or_default().into())
    })],
);

impl Object for Month {
    fn go_type(&self) -> Type {
        Type::Named(&MONTH)
    }

    fn string(&self) -> Option<Text> {
        let name = MONTHS.get(usize::from(self.0).checked_sub(1)?)?;
        Some((*name).into())
    }

    fn to_plain(&self) -> Value {
        Value::Int(Int::new(IntKind::Int, self.0.into()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Object for Weekday {
    fn go_type(&self) -> Type {
        Type::Named(&WEEKDAY)
    }

    fn string(&self) -> Option<Text> {
        Some((*WEEKDAYS.get(usize::from(self.0))?).into())
    }

    fn to_plain(&self) -> Value {
        Value::Int(Int::new(IntKind::Int, self.0.into()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
