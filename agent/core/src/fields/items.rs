//! The items of a list by what a `fieldsV1` calls them.

use std::collections::BTreeMap;

use serde_json::Value;

/// How many sets of names of keys are told apart in one list. Those of a kind have one, and its versions may differ in it; any
/// number of them would make each item be looked at as often.
pub const KEY_SETS: usize = 4;

/// The keys of an item, with their values.
pub type Keys = BTreeMap<String, Value>;

/// The items of one list, each of which is found without looking at all others.
pub struct Items<'a> {
    all: &'a [Value],
    /// The places of those that have the same keys, by what these are.
    keyed: BTreeMap<Vec<String>, BTreeMap<String, usize>>,
    /// The places by the values, once one was asked for.
    values: Option<BTreeMap<String, usize>>,
}

impl<'a> Items<'a> {
    /// Takes the items of a list. What is no list has none.
    pub fn of(list: &'a Value) -> Self {
        Self::new(list.as_array().map_or(&[], Vec::as_slice))
    }

    /// Takes some items.
    pub fn new(all: &'a [Value]) -> Self {
        Self {
            all,
            keyed: BTreeMap::new(),
            values: None,
        }
    }

    /// Returns the item that one path element names, and its place: the first one if it names several.
    pub fn find(&mut self, path: &str) -> Option<(usize, &'a Value)> {
        let place = match path.split_once(':')? {
            ("k", _) => self.with_keys(&keys_of(path)?)?,
            ("v", text) => self.with_value(&serde_json::from_str(text).ok()?)?,
            ("i", text) => text.parse().ok()?,
            _ => return None,
        };
        Some((place, self.all.get(place)?))
    }

    fn with_keys(&mut self, keys: &Keys) -> Option<usize> {
        let names: Vec<String> = keys.keys().cloned().collect();
        if self.keyed.len() == KEY_SETS && !self.keyed.contains_key(&names) {
            return None;
        }
        let all = self.all;
        let index = self
            .keyed
            .entry(names)
            .or_insert_with_key(|names| places(all, |item| keys_text(item, names)));
        let text = serde_json::to_string(keys).ok()?;
        index.get(&text).copied()
    }

    fn with_value(&mut self, value: &Value) -> Option<usize> {
        let all = self.all;
        let index = self
            .values
            .get_or_insert_with(|| places(all, |item| Some(item.to_string())));
        index.get(&value.to_string()).copied()
    }
}

/// Returns the first place of each text.
fn places(all: &[Value], text_of: impl Fn(&Value) -> Option<String>) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (place, item) in all.iter().enumerate() {
        if let Some(text) = text_of(item) {
            places.entry(text).or_insert(place);
        }
    }
    places
}

/// Returns what is at one path element of a `fieldsV1` below a value, whose items are given.
pub fn select<'a>(value: &'a Value, items: &mut Items<'a>, path: &str) -> Option<&'a Value> {
    match path.strip_prefix("f:") {
        Some(name) => value.get(name),
        None => items.find(path).map(|(_, item)| item),
    }
}

/// Reads a path element that names an item by its keys.
pub fn keys_of(path: &str) -> Option<Keys> {
    serde_json::from_str(path.strip_prefix("k:")?).ok()
}

/// Returns the value that an item has for a key. `protocol` is the one key that built-in types leave out for its default.
pub fn key_of(item: &Value, key: &str) -> Option<Value> {
    match item.get(key) {
        Some(value) => Some(value.clone()),
        None => (key == "protocol").then(|| Value::from("TCP")),
    }
}

/// Writes the keys of an item, as [`Keys`] of the same are written; nothing if it does not have all of them.
pub fn keys_text(item: &Value, names: &[String]) -> Option<String> {
    let key = |name: &String| Some((name.clone(), key_of(item, name)?));
    let keys: Keys = names.iter().map(key).collect::<Option<_>>()?;
    serde_json::to_string(&keys).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_is_found_by_its_keys_its_value_or_its_place() {
        let list = json!([
            {"port": 80, "name": "first"}, {"protocol": "UDP", "port": 80}, {"port": 80, "name": "second"}, "a", {"b": 1}
        ]);
        let mut items = Items::of(&list);
        let mut place = |path: &str| items.find(path).map(|(place, _)| place);
        assert_eq!(place(r#"k:{"port":80,"protocol":"TCP"}"#), Some(0));
        assert_eq!(place(r#"k:{"protocol":"UDP", "port":80}"#), Some(1));
        assert_eq!(place(r#"k:{"name":"second"}"#), Some(2));
        assert_eq!(place(r#"k:{"name":"third"}"#), None);
        assert_eq!(place(r#"v:"\u0061""#), Some(3));
        assert_eq!(place(r#"v:{"b":1}"#), Some(4));
        assert_eq!(place("i:4"), Some(4));
        for path in ["i:5", "k:nothing", "v:", "x:1", ""] {
            assert_eq!(place(path), None, "{path}");
        }
        assert!(Items::of(&json!({"a": 1})).find("i:0").is_none());
    }

    #[test]
    fn each_of_very_many_items_is_found() {
        let name = |number: usize| format!("name-{number}");
        let list: Vec<Value> = (0..100_000)
            .map(|number| json!({"name": name(number)}))
            .collect();
        let mut items = Items::new(&list);
        for (number, item) in list.iter().enumerate() {
            let path = format!("k:{}", json!({"name": name(number)}));
            assert_eq!(items.find(&path), Some((number, item)));
        }
    }
}
