//! Lookup of list items by the names that a `fieldsV1` gives them.

use std::collections::BTreeMap;

use serde_json::Value;

/// The maximum number of sets of key names that are told apart in one list. A kind has one set, and its versions may use
/// different ones. With no limit, every item would be examined once per set.
pub const KEY_SETS: usize = 4;

/// The keys of an item with their values.
pub type Keys = BTreeMap<String, Value>;

/// The items of one list, each of which can be found without looking at all the others.
pub struct Items<'a> {
    all: &'a [Value],
    /// For each set of key names, the indexes of the items by their keys.
    keyed: BTreeMap<Vec<String>, BTreeMap<String, usize>>,
    /// The indexes of the items by value, built on the first lookup by value.
    values: Option<BTreeMap<String, usize>>,
}

impl<'a> Items<'a> {
    /// Wraps the items of a list. A value that is not a list has none.
    pub fn of(list: &'a Value) -> Self {
        Self::new(list.as_array().map_or(&[], Vec::as_slice))
    }

    /// Wraps some items.
    pub fn new(all: &'a [Value]) -> Self {
        Self {
            all,
            keyed: BTreeMap::new(),
            values: None,
        }
    }

    /// Returns the item that a path element names, with its index. If it names several, returns the first.
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

/// Maps each text to the index of the first item that has it.
fn places(all: &[Value], text_of: impl Fn(&Value) -> Option<String>) -> BTreeMap<String, usize> {
    let mut places = BTreeMap::new();
    for (place, item) in all.iter().enumerate() {
        if let Some(text) = text_of(item) {
            places.entry(text).or_insert(place);
        }
    }
    places
}

/// Returns what one path element of a `fieldsV1` selects in a value whose items are given.
pub fn select<'a>(value: &'a Value, items: &mut Items<'a>, path: &str) -> Option<&'a Value> {
    match path.strip_prefix("f:") {
        Some(name) => value.get(name),
        None => items.find(path).map(|(_, item)| item),
    }
}

/// Parses a path element that names an item by its keys.
pub fn keys_of(path: &str) -> Option<Keys> {
    serde_json::from_str(path.strip_prefix("k:")?).ok()
}

/// Returns an item's value for a key. `protocol` is the only key that built-in types leave out when it has its default.
pub fn key_of(item: &Value, key: &str) -> Option<Value> {
    match item.get(key) {
        Some(value) => Some(value.clone()),
        None => (key == "protocol").then(|| Value::from("TCP")),
    }
}

/// Writes the keys of an item in the same form as the equivalent [`Keys`], or returns `None` if it lacks one of them.
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
