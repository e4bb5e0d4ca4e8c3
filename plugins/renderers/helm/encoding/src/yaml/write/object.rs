//! Writes structs, pointers and named types.

use std::borrow::Cow;

use pintle_gotemplate::{Kind, Object, Value};

use super::{Entry, Flavor, Place, Writer};
use crate::error::WriteError;

impl Writer<'_> {
    pub(super) fn object(
        &mut self,
        object: &dyn Object,
        place: Place,
        depth: usize,
    ) -> Result<(), WriteError> {
        let pretty = self.flavor == Flavor::Pretty;
        let kind = object.go_type().kind();
        match object.to_plain() {
            plain if kind == Kind::Func || matches!(plain, Value::Object(_)) => {
                Err(self.unsupported(object))
            }
            // Version 3 supports times natively. JSON turns them into strings, and durations into numbers.
            Value::String(time) if pretty && is_named(object, "time.Time") => {
                self.word(&time);
                Ok(())
            }
            Value::Int(_) if pretty && is_named(object, "time.Duration") => {
                self.text(&object.string().unwrap_or_default(), place)
            }
            Value::Map(_) if pretty && matches!(kind, Kind::Struct | Kind::Pointer) => {
                self.fields(object, depth)
            }
            plain => self.value(&plain, place, depth + 1),
        }
    }

    /// Writes a struct as version 3 does. It ignores names in JSON, and writes the exported fields in their order, with their
    /// names in lowercase.
    fn fields(&mut self, object: &dyn Object, depth: usize) -> Result<(), WriteError> {
        let fields = object.fields();
        let exported = fields
            .iter()
            .filter(|(name, _)| name.starts_with(|first: char| first.is_ascii_uppercase()));
        let entries: Vec<_> = exported
            .map(|(name, value)| Entry {
                name: Cow::Owned(name.to_ascii_lowercase().into_bytes()),
                value,
            })
            .collect();
        self.mapping(&entries, depth)
    }

    fn unsupported(&self, object: &dyn Object) -> WriteError {
        let go_type = object.go_type().to_string();
        match self.flavor {
            Flavor::Plain => WriteError::Type { go_type },
            Flavor::Pretty => WriteError::Marshal { go_type },
        }
    }
}

fn is_named(object: &dyn Object, name: &str) -> bool {
    object.go_type().to_string() == name
}
