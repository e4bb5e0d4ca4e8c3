//! `tpl`: renders a text from the values as a template.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use memchr::memmem::find;
use pintle_gotemplate::{Args, Call, FunctionError, Set, Text, Value, print};

use super::{NO_VALUE, SET, without_no_value};

/// The texts already parsed in this render. Charts render the same texts in each of their templates.
///
/// A text belongs to the set in which `tpl` was called, because it sees the templates of that set. The sets derived from it keep
/// a cached set alive, so an address identifies one set.
#[derive(Debug, Default)]
pub(super) struct Cache(RefCell<HashMap<(usize, Text), Rc<Set>>>);

impl Cache {
    fn get(&self, outer: &Rc<Set>, text: &Text) -> Result<Rc<Set>, FunctionError> {
        let key = (Rc::as_ptr(outer).addr(), text.clone());
        if let Some(set) = self.0.borrow().get(&key) {
            return Ok(set.clone());
        }
        let set = parse(outer, text)?;
        self.0.borrow_mut().insert(key, set.clone());
        Ok(set)
    }
}

fn parse(outer: &Rc<Set>, text: &Text) -> Result<Rc<Set>, FunctionError> {
    let mut set = outer.extend();
    set.parse_main(SET, text.clone()).map_err(|error| {
        let shown = quoted(text);
        FunctionError::new(format_args!("cannot parse template {shown}: {error}"))
    })?;
    Ok(Rc::new(set))
}

pub(super) fn tpl(call: &mut dyn Call, args: Args<'_>) -> Result<Value, FunctionError> {
    let text = args.text(0)?;
    let out = if find(text, b"{{").is_none() {
        // Most of what charts pass to `tpl` is plain text.
        text.clone()
    } else {
        let outer = call
            .templates()
            .ok_or_else(|| FunctionError::new("only templates can call tpl"))?
            .clone();
        let cache = call.state().get::<Rc<Cache>>().cloned();
        let set = match cache {
            Some(cache) => cache.get(&outer, text)?,
            None => parse(&outer, text)?,
        };
        call.execute(&set, SET, args.any(1))
            .map_err(|error| explain(error, text))?
    };
    if find(&out, NO_VALUE).is_none() {
        return Ok(Value::String(out));
    }
    Ok(Value::string(without_no_value(out.to_vec())))
}

fn explain(error: FunctionError, text: &[u8]) -> FunctionError {
    match error {
        FunctionError::Template { prefix, error } => FunctionError::Template {
            prefix: format!(
                "error during tpl function execution for {}: {prefix}",
                quoted(text)
            ),
            error,
        },
        other => other,
    }
}

fn quoted(text: &[u8]) -> String {
    String::from_utf8_lossy(&print::quote(text)).into_owned()
}
