//! `--set-literal`: everything after the `=` is the value, and nothing is escaped.

use pintle_gotemplate::{Map, Value};

use super::{
    Depth, SetError, Stop, checked, inner_list, inner_table, nested_list, nested_table, put,
    set_item,
};

/// Puts the value of a `--set-literal` line into `values`. An empty line sets nothing.
pub fn set_literal(line: &str, values: &Map) -> Result<(), SetError> {
    match (Literal { rest: line }).key(values, Depth::default()) {
        Ok(()) | Err(Stop::End) => Ok(()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// What is left of a line.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn until(&mut self, stops: &[char]) -> (&'a str, Option<char>) {
        let Some(end) = self.rest.find(stops) else {
            return (std::mem::take(&mut self.rest), None);
        };
        let (text, behind) = self.rest.split_at(end);
        let mut chars = behind.chars();
        let stop = chars.next();
        self.rest = chars.as_str();
        (text, stop)
    }

    fn key(&mut self, table: &Map, depth: Depth) -> Result<(), Stop> {
        let (key, stop) = self.until(&['=', '[', '.']);
        match stop {
            None if key.is_empty() => Err(Stop::End),
            None => Err(SetError::NoValue(key.to_owned()).into()),
            Some('=') => {
                put(table, key, std::mem::take(&mut self.rest).into());
                Ok(())
            }
            Some('[') => {
                let index = self.index()?;
                let mut items = inner_list(table, key)?;
                let result = self.item(key, &mut items, index, depth);
                put(table, key, Value::list(items));
                result
            }
            Some(_) => {
                let depth = depth.dot()?;
                let inner = inner_table(table, key)?;
                let result = self.key(&inner, depth);
                if inner.is_empty() && result.is_ok() {
                    return Err(SetError::EmptyTable(key.to_owned()).into());
                }
                if !inner.is_empty() {
                    put(table, key, inner.into());
                }
                result
            }
        }
    }

    fn index(&mut self) -> Result<i64, Stop> {
        let (text, stop) = self.until(&[']']);
        stop.ok_or(Stop::End)?;
        text.parse()
            .map_err(|_| SetError::Index(text.to_owned()).into())
    }

    fn item(
        &mut self,
        key: &str,
        items: &mut Vec<Value>,
        index: i64,
        depth: Depth,
    ) -> Result<(), Stop> {
        let at = checked(index)?;
        let depth = depth.index()?;
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return Err(SetError::AfterIndex(text.to_owned()).into());
        }
        let value = match stop {
            None => return Err(Stop::End),
            Some('=') => std::mem::take(&mut self.rest).into(),
            Some('[') => {
                let next = self.index()?;
                let mut nested = nested_list(items, at, key)?;
                self.item(key, &mut nested, next, depth)?;
                Value::list(nested)
            }
            Some(_) => {
                let inner = nested_table(items, at);
                self.key(&inner, depth)?;
                inner.into()
            }
        };
        set_item(items, at, value);
        Ok(())
    }
}
