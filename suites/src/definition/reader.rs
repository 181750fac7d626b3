//! Reads typed values out of a [`Node`] tree: serde's derive gives the types, this gives every error its
//! line, column and dotted key.

use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::node::{Node, Value};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

/// A value that remembers its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    /// The value.
    pub(crate) value: T,
    /// Its place.
    pub(crate) place: Place,
}

/// The name by which [`Placed`] asks [`Reader`] for a place.
const PLACED: &str = "preheat placed";

/// Reads a `T`. The file is not yet in the error.
pub(crate) fn read<T: DeserializeOwned>(root: &Node) -> Result<T> {
    T::deserialize(Reader { node: root, path: Path::Root })
}

/// The way from the root to a node.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => write!(f, "{key}"),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'n, 'p> {
    node: &'n Node,
    path: Path<'p>,
}

type Result<T> = std::result::Result<T, DefinitionError>;

impl<'n, 'p> Reader<'n, 'p> {
    fn place(&self) -> Place {
        Place { line: self.node.line, column: self.node.column, key: self.path.to_string() }
    }

    fn unfit<T>(&self, allowed: &str) -> Result<T> {
        Err(DefinitionError::at(&self.place(), describe(&self.node.value)).allowed(allowed))
    }

    /// A number that is not finite is wrong wherever it stands.
    fn finite(&self) -> Result<()> {
        match self.node.value {
            Value::Real(x) if !x.is_finite() => {
                Err(DefinitionError::at(&self.place(), format!("is {x}, must be finite")).allowed("a finite number"))
            }
            _ => Ok(()),
        }
    }

    fn text(&self) -> Result<&'n str> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            _ => self.unfit("text"),
        }
    }

    fn int(&self, min: i64) -> Result<i64> {
        match self.node.value {
            Value::Int(x) if x >= min => Ok(x),
            _ if min == 0 => self.unfit("a whole number of at least 0"),
            _ => self.unfit("a whole number"),
        }
    }
}

/// What a value is, for `allowed: …` to answer.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "is empty".into(),
        Value::Flag(x) => format!("is {x}"),
        Value::Int(x) => format!("is {x}"),
        Value::Real(x) => format!("is {x}"),
        Value::Text(x) => format!("is the text {}", quoted(x)),
        Value::List(_) => "is a list".into(),
        Value::Map(_) => "is a map".into(),
    }
}

impl<'n> Deserializer<'n> for Reader<'n, '_> {
    type Error = DefinitionError;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        self.finite()?;
        let result: Result<V::Value> = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Flag(x) => visitor.visit_bool(*x),
            Value::Int(x) => visitor.visit_i64(*x),
            Value::Real(x) => visitor.visit_f64(*x),
            Value::Text(x) => visitor.visit_borrowed_str(x),
            Value::List(_) => return self.deserialize_seq(visitor),
            Value::Map(_) => return self.deserialize_map(visitor),
        };
        result.map_err(|e| e.or_at(|| self.place()))
    }
    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'n>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == PLACED {
            let parts = PlacedParts { place: self.place(), next: 0, value: Some(self) };
            return visitor.visit_seq(parts);
        }
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        match self.node.value {
            Value::Flag(x) => visitor.visit_bool(x),
            _ => self.unfit("true, false"),
        }
    }
    fn deserialize_i64<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_i64(self.int(i64::MIN)?)
    }
    fn deserialize_u64<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u64(self.int(0)? as u64)
    }
    fn deserialize_f64<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        self.finite()?;
        match self.node.value {
            Value::Int(x) => visitor.visit_f64(x as f64),
            Value::Real(x) => visitor.visit_f64(x),
            _ => self.unfit("a number"),
        }
    }
    fn deserialize_str<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?).map_err(|e: DefinitionError| e.or_at(|| self.place()))
    }
    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }
    fn deserialize_seq<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        let Value::List(items) = &self.node.value else { return self.unfit("a list") };
        visitor.visit_seq(Items { items, next: 0, path: &self.path }).map_err(|e| e.or_at(|| self.place()))
    }
    fn deserialize_tuple<V: Visitor<'n>>(self, len: usize, visitor: V) -> Result<V::Value> {
        match &self.node.value {
            Value::List(items) if items.len() == len => self.deserialize_seq(visitor),
            Value::List(items) => {
                let message = format!("is a list of {}", items.len());
                Err(DefinitionError::at(&self.place(), message).allowed(format!("a list of {len}")))
            }
            _ => self.unfit(&format!("a list of {len}")),
        }
    }
    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        let Value::Map(pairs) = &self.node.value else { return self.unfit("a map") };
        let pairs = Pairs { pairs, next: 0, seen: BTreeSet::new(), path: &self.path };
        visitor.visit_map(pairs).map_err(|e| e.or_at(|| self.place()))
    }
    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match &self.node.value {
            Value::Map(_) => self.deserialize_map(visitor),
            _ => self.unfit(&format!("a map of {}", fields.join(", "))),
        }
    }
    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let result = match &self.node.value {
            Value::Text(name) => {
                let name: StrDeserializer<'_, DefinitionError> = name.as_str().into_deserializer();
                visitor.visit_enum(name)
            }
            Value::Map(pairs) if pairs.len() == 1 => {
                visitor.visit_enum(Variant { key: &pairs[0].0, value: &pairs[0].1, path: &self.path })
            }
            Value::Map(pairs) => {
                let message = format!("is a map of {}", pairs.len());
                Err(DefinitionError::at(&self.place(), message).allowed(format!("one of {}", variants.join(", "))))
            }
            _ => self.unfit(&variants.join(", ")),
        };
        result.map_err(|e| e.or_at(|| self.place()))
    }
    fn deserialize_ignored_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }
    forward_to_deserialize_any! {
        <V: Visitor<'n>>
        i8 i16 i32 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit unit_struct tuple_struct
    }
}

struct Items<'n, 'p> {
    items: &'n [Node],
    next: usize,
    path: &'p Path<'p>,
}

impl<'n> SeqAccess<'n> for Items<'n, '_> {
    type Error = DefinitionError;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let path = Path::Index(self.path, self.next);
        self.next += 1;
        seed.deserialize(Reader { node, path }).map(Some)
    }
}

struct Pairs<'n, 'p> {
    pairs: &'n [(Node, Node)],
    next: usize,
    seen: BTreeSet<&'n str>,
    path: &'p Path<'p>,
}

impl<'n> MapAccess<'n> for Pairs<'n, '_> {
    type Error = DefinitionError;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((node, _)) = self.pairs.get(self.next) else { return Ok(None) };
        let key = Reader { node, path: *self.path }.text()?;
        let reader = Reader { node, path: Path::Key(self.path, key) };
        if !self.seen.insert(key) {
            return Err(DefinitionError::at(&reader.place(), "is given twice").allowed("each key once"));
        }
        seed.deserialize(reader).map(Some).map_err(|e| e.or_at(|| reader.place()))
    }
    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value> {
        let (key, node) = &self.pairs[self.next];
        let key = Reader { node: key, path: *self.path }.text()?;
        self.next += 1;
        seed.deserialize(Reader { node, path: Path::Key(self.path, key) })
    }
}

/// A map-form enum: `{variant: value}`.
struct Variant<'n, 'p> {
    key: &'n Node,
    value: &'n Node,
    path: &'p Path<'p>,
}

impl<'n, 'p> EnumAccess<'n> for Variant<'n, 'p> {
    type Error = DefinitionError;
    type Variant = VariantContent<'n, 'p>;

    fn variant_seed<V: DeserializeSeed<'n>>(self, seed: V) -> Result<(V::Value, Self::Variant)> {
        let name = Reader { node: self.key, path: *self.path }.text()?;
        let reader = Reader { node: self.key, path: Path::Key(self.path, name) };
        let variant = seed.deserialize(reader).map_err(|e| e.or_at(|| reader.place()))?;
        Ok((variant, VariantContent { name, node: self.value, path: self.path }))
    }
}

struct VariantContent<'n, 'p> {
    name: &'n str,
    node: &'n Node,
    path: &'p Path<'p>,
}

impl<'n> VariantContent<'n, '_> {
    fn reader(&self) -> Reader<'n, '_> {
        Reader { node: self.node, path: Path::Key(self.path, self.name) }
    }
}

impl<'n> VariantAccess<'n> for VariantContent<'n, '_> {
    type Error = DefinitionError;

    fn unit_variant(self) -> Result<()> {
        self.reader().unfit(&format!("the word {} alone", self.name))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'n>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.reader())
    }
    fn tuple_variant<V: Visitor<'n>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.reader().deserialize_tuple(len, visitor)
    }
    fn struct_variant<V: Visitor<'n>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.reader().deserialize_struct("", fields, visitor)
    }
}

/// Line, column, key and value, as [`Placed`] reads them.
struct PlacedParts<R> {
    place: Place,
    next: usize,
    value: Option<R>,
}

impl<'n> SeqAccess<'n> for PlacedParts<Reader<'n, '_>> {
    type Error = DefinitionError;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.place.line.into_deserializer()).map(Some),
            2 => seed.deserialize(self.place.column.into_deserializer()).map(Some),
            3 => seed.deserialize(self.place.key.as_str().into_deserializer()).map(Some),
            _ => self.value.take().map(|reader| seed.deserialize(reader)).transpose(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Parts<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Placed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Placed<T>, A::Error> {
                let missing = || de::Error::custom("a place has four parts");
                let line = seq.next_element()?.ok_or_else(missing)?;
                let column = seq.next_element()?.ok_or_else(missing)?;
                let key = seq.next_element()?.ok_or_else(missing)?;
                let value = seq.next_element()?.ok_or_else(missing)?;
                Ok(Placed { value, place: Place { line, column, key } })
            }
        }
        deserializer.deserialize_newtype_struct(PLACED, Parts(PhantomData))
    }
}

impl de::Error for DefinitionError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), ..Self::default() }
    }
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let message = match found {
            de::Unexpected::Unit => "is empty".into(),
            de::Unexpected::Seq => "is a list".into(),
            de::Unexpected::Map => "is a map".into(),
            other => format!("is {other}"),
        };
        Self { message, allowed: expected.to_string(), ..Self::default() }
    }
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        let allowed = nearest_first(field, allowed.iter().copied());
        Self { message: "is no key here".into(), allowed, ..Self::default() }
    }
    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        let allowed = nearest_first(variant, allowed.iter().copied());
        Self { message: format!("{} is unknown", quoted(variant)), allowed, ..Self::default() }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { message: format!("key `{field}` is missing"), ..Self::default() }
    }
}
