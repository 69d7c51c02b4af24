//! The shape of a JSON value: which keys, which types, whatever the numbers are.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// An empty list, or `null`, where there could be anything.
    Unknown,
    Kind(&'static str),
    List(Box<Shape>),
    /// A key that not all objects of a list have is not needed.
    Map(BTreeMap<String, (Shape, bool)>),
    /// Two things at one place.
    Mixed,
}

impl Shape {
    pub(super) fn of(value: &Value) -> Shape {
        match value {
            Value::Null => Shape::Unknown,
            Value::Bool(_) => Shape::Kind("bool"),
            Value::Number(_) => Shape::Kind("number"),
            Value::String(_) => Shape::Kind("string"),
            // A point: a time and a text.
            Value::Array(list) if matches!(&list[..], [Value::Number(_), Value::String(_)]) => {
                Shape::Kind("point")
            }
            Value::Array(list) => {
                let all = list.iter().map(Shape::of).reduce(Shape::joined);
                Shape::List(Box::new(all.unwrap_or(Shape::Unknown)))
            }
            Value::Object(map) => Shape::Map(
                map.iter().map(|(key, value)| (key.clone(), (Shape::of(value), true))).collect(),
            ),
        }
    }

    fn joined(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Unknown, shape) | (shape, Shape::Unknown) => shape,
            (Shape::List(one), Shape::List(two)) => Shape::List(Box::new(one.joined(*two))),
            (Shape::Map(mut one), Shape::Map(mut two)) => {
                for (key, (shape, needed)) in &mut one {
                    match two.remove(key) {
                        Some((other, also)) => {
                            let this = std::mem::replace(shape, Shape::Unknown);
                            *shape = this.joined(other);
                            *needed &= also;
                        }
                        None => *needed = false,
                    }
                }
                one.extend(two.into_iter().map(|(key, (shape, _))| (key, (shape, false))));
                Shape::Map(one)
            }
            (one, two) if one == two => one,
            _ => Shape::Mixed,
        }
    }

    /// Where this differs from `want`; keys in `more` may be here and not there.
    pub(super) fn difference(&self, want: &Shape, more: &[&str], at: &str) -> Vec<String> {
        match (self, want) {
            (Shape::Unknown, Shape::List(_)) => vec![format!("{at}: null, not a list")],
            (Shape::Unknown, _) | (_, Shape::Unknown) => Vec::new(),
            (Shape::List(ours), Shape::List(theirs)) => {
                ours.difference(theirs, more, &format!("{at}[]"))
            }
            (Shape::Map(ours), Shape::Map(theirs)) => {
                let mut found = Vec::new();
                for (key, (shape, needed)) in theirs {
                    match ours.get(key) {
                        Some((own, _)) => {
                            found.extend(own.difference(shape, more, &format!("{at}.{key}")));
                        }
                        None if *needed => found.push(format!("{at}.{key} is missing")),
                        None => {}
                    }
                }
                let known =
                    |key: &&String| theirs.contains_key(*key) || more.contains(&key.as_str());
                let new = ours.keys().filter(|key| !known(key));
                found.extend(new.map(|key| format!("{at}.{key} is not Prometheus'")));
                found
            }
            (ours, theirs) if ours == theirs => Vec::new(),
            (ours, theirs) => vec![format!("{at}: {ours:?}, not {theirs:?}")],
        }
    }
}
