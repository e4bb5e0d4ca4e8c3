//! Go's `reflect.DeepEqual`.

use std::rc::Rc;

use super::{List, MAX_NESTING, Map, Value};

/// Returns whether both values have the same type and the same contents, like Go's `reflect.DeepEqual`.
///
/// Values nested deeper than [`MAX_NESTING`] are equal only if they are one and the same.
pub fn deep_equal(one: &Value, two: &Value) -> bool {
    equal(one, two, MAX_NESTING)
}

fn equal(one: &Value, two: &Value, depth: usize) -> bool {
    match (one, two) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(one), Value::Bool(two)) => one == two,
        (Value::Int(one), Value::Int(two)) => one == two,
        #[expect(clippy::float_cmp, reason = "Go compares with == as well")]
        (Value::Float(one), Value::Float(two)) => one == two,
        (Value::String(one), Value::String(two)) => one == two,
        (Value::List(one), Value::List(two)) => equal_lists(one, two, depth),
        (Value::Map(one), Value::Map(two)) => equal_maps(one, two, depth),
        (Value::Object(one), Value::Object(two)) => Rc::ptr_eq(one, two) || one.equals(&**two),
        _ => false,
    }
}

fn equal_lists(one: &List, two: &List, depth: usize) -> bool {
    if one.go_type() != two.go_type() || one.is_nil() != two.is_nil() || one.len() != two.len() {
        return false;
    }
    if one.same(two) {
        return true;
    }
    if let (Some(one), Some(two)) = (one.as_bytes(), two.as_bytes()) {
        return one == two;
    }
    depth > 0
        && one
            .iter()
            .zip(two.iter())
            .all(|(one, two)| equal(&one, &two, depth - 1))
}

fn equal_maps(one: &Map, two: &Map, depth: usize) -> bool {
    if one.go_type() != two.go_type() || one.is_nil() != two.is_nil() {
        return false;
    }
    if one.same(two) {
        return true;
    }
    let (one, two) = (one.borrow(), two.borrow());
    depth > 0
        && one.len() == two.len()
        && one
            .iter()
            .zip(two.iter())
            .all(|(one, two)| one.0 == two.0 && equal(one.1, two.1, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Type;

    #[test]
    fn types_and_nilness_count() {
        assert_ne!(Value::int(1), Value::int64(1));
        assert_ne!(
            Value::from(List::strings(["a"])),
            Value::list(vec!["a".into()])
        );
        assert_ne!(Value::from(List::nil(Type::ANY_SLICE)), Value::list(vec![]));
        assert_ne!(Value::from(f64::NAN), Value::from(f64::NAN));
        assert_eq!(
            Value::list(vec![Map::new().into()]),
            Value::list(vec![Map::new().into()])
        );
    }

    #[test]
    fn maps_in_themselves_end() {
        let cycle = |_| {
            let map = Map::new();
            map.insert("self", map.clone().into()).unwrap();
            Value::from(map)
        };
        let [one, two] = [0, 1].map(cycle);
        assert_ne!(one, two);
        assert_eq!(one, one.clone());
    }
}
