//! Names and parameters of everything that a suite can choose: models, tasks, optimizers, schedules.
//!
//! A thing is one file and one registry line. From the line come its YAML name, the list printed on a
//! typo, the JSON schema and the tests' list.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A value of a suite's YAML.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// An integer.
    Int(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
}

impl Scalar {
    /// Whether the two are the same parameter value: `3` and `3.0` are.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(i), Self::Real(r)) | (Self::Real(r), Self::Int(i)) => *i as f64 == *r,
            _ => self == other,
        }
    }
    /// A whole or a real number; `None` of flags and text.
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Int(x) => Some(*x as f64),
            Self::Real(x) => Some(*x),
            Self::Flag(_) | Self::Text(_) => None,
        }
    }
}

/// By hand and not `untagged`, which would lose the place of an error.
impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, text, true or false")
            }
            fn visit_bool<E>(self, x: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(x))
            }
            fn visit_i64<E>(self, x: i64) -> Result<Scalar, E> {
                Ok(Scalar::Int(x))
            }
            fn visit_u64<E: serde::de::Error>(self, x: u64) -> Result<Scalar, E> {
                i64::try_from(x).map(Scalar::Int).map_err(|_| E::custom(format_args!("{x} is too large")))
            }
            fn visit_f64<E>(self, x: f64) -> Result<Scalar, E> {
                Ok(Scalar::Real(x))
            }
            fn visit_str<E>(self, x: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(x.to_string()))
            }
        }
        deserializer.deserialize_any(One)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["boolean", "integer", "number", "string"]})
    }
}

impl fmt::Display for Scalar {
    /// The canonical form: reals are the shortest decimal that reads back as the same bits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(x) => write!(f, "{x}"),
            Self::Int(x) => write!(f, "{x}"),
            Self::Real(x) => write!(f, "{x:?}"),
            Self::Text(x) => write!(f, "{x}"),
        }
    }
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamKind {
    /// An integer in `min..=max`.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// An integer in `min..=max`, or this word, which the resolution of a recipe turns into an integer.
    IntOr {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
        /// The word.
        word: &'static str,
    },
    /// A finite real number in `min..=max`. An integer in YAML is taken as a real.
    Real {
        /// Smallest value.
        min: f64,
        /// Largest value.
        max: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// true or false.
    Flag,
    /// Any text.
    Text,
}

/// A parameter's default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preset {
    /// Must be given.
    Required,
    /// This integer.
    Int(i64),
    /// This real.
    Real(f64),
    /// This word.
    Text(&'static str),
    /// This flag.
    Flag(bool),
}

/// One parameter: its YAML key, meaning with unit, allowed values and default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamDef {
    /// The YAML key.
    pub name: &'static str,
    /// Meaning and unit.
    pub doc: &'static str,
    /// Allowed values.
    pub kind: ParamKind,
    /// Default.
    pub default: Preset,
}

/// One registered thing of a section.
pub struct Entry<B: 'static> {
    /// The YAML name.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its parameters.
    pub params: &'static [ParamDef],
    /// Builds it. The parameters are complete and each lies in its range.
    pub build: fn(&Params) -> Result<B, Invalid>,
}

/// A value that does not fit, named by its key (`width`, or empty for the whole).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct Invalid {
    /// The parameter at fault.
    pub key: String,
    /// What is wrong, then `; allowed: ` and what is allowed.
    pub message: String,
}

impl Invalid {
    /// A fault of parameter `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Complete, range-checked parameters. Getters panic on an undeclared name: that is a fault of the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(pub BTreeMap<String, Scalar>);

impl Params {
    /// An integer parameter.
    pub fn int(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(Scalar::Int(x)) => *x,
            other => panic!("parameter {name} is declared as an integer, found {other:?}"),
        }
    }
    /// An integer parameter as a size.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).expect("sizes are declared with min >= 0")
    }
    /// A real parameter.
    pub fn real(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(Scalar::Real(x)) => *x,
            Some(Scalar::Int(x)) => *x as f64,
            other => panic!("parameter {name} is declared as a real, found {other:?}"),
        }
    }
    /// A choice or text parameter.
    pub fn text(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Scalar::Text(x)) => x,
            other => panic!("parameter {name} is declared as text, found {other:?}"),
        }
    }
    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        match self.0.get(name) {
            Some(Scalar::Flag(x)) => *x,
            other => panic!("parameter {name} is declared as a flag, found {other:?}"),
        }
    }
}

/// A named thing with complete parameters, e.g. `adam {beta1: 0.9, beta2: 0.999, eps: 1e-8}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Registered name.
    pub name: String,
    /// Complete parameters.
    pub params: Params,
}

impl fmt::Display for Spec {
    /// Canonical text, e.g. `adam(beta1=0.9,beta2=0.999,eps=1e-8)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (i, (key, value)) in self.params.0.iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { "" } else { "," })?;
        }
        write!(f, ")")
    }
}

/// Builds the thing that `spec` names from its section's table. Errors name `section.key`.
pub fn build<B>(section: &str, table: &'static [Entry<B>], spec: &Spec) -> Result<B, Invalid> {
    let entry = table.iter().find(|e| e.name == spec.name).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|e| e.name).collect();
        Invalid::new(section, format!("unknown name {}; allowed: {}", spec.name, names.join(", ")))
    })?;
    (entry.build)(&spec.params).map_err(|e| Invalid::new(format!("{section}.{}", e.key), e.message))
}
