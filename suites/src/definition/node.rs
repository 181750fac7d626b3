//! YAML text as a tree in which every node knows its place.

use super::error::{DefinitionError, Place};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use std::fmt;

/// One YAML node.
pub(crate) struct Node {
    /// What it holds.
    pub(crate) value: Value,
    /// Line, from 1.
    pub(crate) line: u64,
    /// Column, from 1.
    pub(crate) column: u64,
}

/// What a node holds.
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// An integer.
    Int(i64),
    /// A real number, possibly not finite.
    Real(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping as written: in order, keys may repeat.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The value of `key`, where this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(pairs) = &self.value else { return None };
        pairs.iter().find(|(k, _)| matches!(&k.value, Value::Text(text) if text == key)).map(|(_, value)| value)
    }
}

/// A definition is small; more than this is a mistake or an attack.
const MAX_NODES: usize = 50_000;
const MAX_DEPTH: usize = 32;

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_NODES },
        // Repeated keys and numbers that are not finite are reported later, with their key.
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::PassThrough,
        merge_keys: serde_yaml::options::MergeKeyPolicy::Error,
        reject_unsupported_tags: true,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// Reads YAML. Errors carry the parser's place and no key.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, DefinitionError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = String::from_utf8_lossy(&bytes[..e.valid_up_to()]);
        let line = before.matches('\n').count() as u64 + 1;
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) as u64 + 1;
        DefinitionError::at(&Place { line, column, key: String::new() }, "is not UTF-8").allowed("UTF-8 text")
    })?;
    let mut node: Node = serde_yaml::from_str_with_options(text, options()).map_err(|e| {
        let place = e.location().map_or((1, 1), |l| (l.line().max(1), l.column().max(1)));
        let place = Place { line: place.0, column: place.1, key: String::new() };
        let (wrong, allowed) = bare(&e);
        DefinitionError::at(&place, format!("is not readable YAML: {wrong}")).allowed(allowed)
    })?;
    (node.line, node.column) = (node.line.max(1), node.column.max(1));
    Ok(node)
}

/// The parser's message without its place, which is printed in front already, and what is allowed where the message
/// does not say it.
fn bare(error: &serde_yaml::Error) -> (String, String) {
    use serde_yaml::Error;
    use serde_yaml::budget::BudgetBreach;
    let deep = || (format!("nested deeper than {MAX_DEPTH}"), format!("at most {MAX_DEPTH} levels"));
    let much = || ("it and its aliases hold too much".into(), format!("at most {MAX_NODES} values"));
    match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            ("more than one document".into(), "one document".into())
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => deep(),
        Error::Budget { .. } => much(),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let end = first.find(" at line ").unwrap_or(first.len());
            match first[..end].trim_start_matches("error: ") {
                "recursion limit exceeded" => deep(),
                message if message.starts_with("alias replay limit exceeded") => much(),
                message => (message.to_string(), String::new()),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value, line: referenced.line(), column: referenced.column() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 64 bits, text, true, false, a list or a map")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, x: bool) -> Result<Value, E> {
        Ok(Value::Flag(x))
    }
    fn visit_i64<E>(self, x: i64) -> Result<Value, E> {
        Ok(Value::Int(x))
    }
    fn visit_u64<E: serde::de::Error>(self, x: u64) -> Result<Value, E> {
        i64::try_from(x).map(Value::Int).map_err(|_| E::custom(format_args!("{x} is too large")))
    }
    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Real(x))
    }
    fn visit_str<E>(self, x: &str) -> Result<Value, E> {
        Ok(Value::Text(x.to_string()))
    }
    fn visit_string<E>(self, x: String) -> Result<Value, E> {
        Ok(Value::Text(x))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::Map(pairs))
    }
}
