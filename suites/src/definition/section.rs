//! Sections of a recipe as written (`{name: {parameters}}`), and how a patch changes them.

use super::reader::Placed;
use super::wire::{ArmWire, Named, TierWire};
use crate::registry::Scalar;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize as Derive;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Parameters as written.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(crate) Vec<Value>);

/// One parameter as written.
#[derive(Clone)]
pub(crate) struct Value {
    /// Its name, at the place of the key.
    pub(crate) name: Placed<String>,
    /// Its value.
    pub(crate) value: Placed<Scalar>,
}

impl Values {
    /// Sets `name`, replacing an earlier value.
    pub(crate) fn set(&mut self, name: Placed<String>, value: Placed<Scalar>) {
        self.0.retain(|v| v.name.value != name.value);
        self.0.push(Value { name, value });
    }

    fn patch(&mut self, with: &Self) {
        for Value { name, value } in &with.0 {
            self.set(name.clone(), value.clone());
        }
    }

    /// Those whose name `is` one of some words, and the others.
    pub(crate) fn split(&self, is: impl Fn(&str) -> bool) -> (Self, Self) {
        let (words, rest) = self.0.iter().cloned().partition(|v| is(&v.name.value));
        (Self(words), Self(rest))
    }

    /// The value of `name`, where it is written.
    pub(crate) fn get(&self, name: &str) -> Option<&Placed<Scalar>> {
        self.0.iter().find(|v| v.name.value == name).map(|v| &v.value)
    }
}

/// Which section: gives its name in messages and in the schema.
pub(crate) trait Kind {
    /// `model`, `task`, …
    const NAME: &'static str;
}

macro_rules! kinds {
    ($($kind:ident $name:literal),*) => {$(
        #[doc = concat!("The `", $name, "` section.")]
        #[derive(Clone)]
        pub(crate) enum $kind {}
        impl Kind for $kind {
            const NAME: &'static str = $name;
        }
    )*};
}
kinds!(Model "model", Task "task", Optimizer "optimizer", Schedule "schedule", Train "train");

/// `{name: {parameters}}` as written.
#[derive(Clone)]
pub(crate) struct Section<K> {
    /// The registered name.
    pub(crate) name: Placed<String>,
    /// Its parameters.
    pub(crate) values: Values,
    kind: PhantomData<K>,
}

/// A recipe, or what an arm or a tier changes of one.
#[derive(Clone, Default, Derive, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchWire {
    /// The model.
    #[serde(default)]
    pub(crate) model: Option<Section<Model>>,
    /// The task.
    #[serde(default)]
    pub(crate) task: Option<Section<Task>>,
    /// The optimizer.
    #[serde(default)]
    pub(crate) optimizer: Option<Section<Optimizer>>,
    /// The learning-rate schedule.
    #[serde(default)]
    pub(crate) schedule: Option<Section<Schedule>>,
    /// Batch, steps and evaluation.
    #[serde(default)]
    pub(crate) train: Option<Values>,
}

impl PatchWire {
    /// Patches section by section: the same name overrides parameters, another name replaces the section.
    pub(crate) fn patch(&mut self, with: &Self) {
        patch_section(&mut self.model, &with.model);
        patch_section(&mut self.task, &with.task);
        patch_section(&mut self.optimizer, &with.optimizer);
        patch_section(&mut self.schedule, &with.schedule);
        if let Some(train) = &with.train {
            self.train.get_or_insert_default().patch(train);
        }
    }

    /// The parameters of `section`; none where there is no such section.
    pub(crate) fn values_mut(&mut self, section: &str) -> Option<&mut Values> {
        match section {
            "model" => self.model.as_mut().map(|s| &mut s.values),
            "task" => self.task.as_mut().map(|s| &mut s.values),
            "optimizer" => self.optimizer.as_mut().map(|s| &mut s.values),
            "schedule" => self.schedule.as_mut().map(|s| &mut s.values),
            "train" => self.train.as_mut(),
            _ => None,
        }
    }
}

macro_rules! patches {
    ($($wire:ident),*) => {$(
        impl From<&$wire> for PatchWire {
            fn from(wire: &$wire) -> Self {
                Self {
                    model: wire.model.clone(),
                    task: wire.task.clone(),
                    optimizer: wire.optimizer.clone(),
                    schedule: wire.schedule.clone(),
                    train: wire.train.clone(),
                }
            }
        }
    )*};
}
patches!(ArmWire, TierWire);

fn patch_section<K: Clone>(section: &mut Option<Section<K>>, with: &Option<Section<K>>) {
    match (section.as_mut(), with) {
        (Some(old), Some(new)) if old.name.value == new.name.value => old.values.patch(&new.values),
        (_, Some(new)) => *section = Some(new.clone()),
        (_, None) => {}
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Named(pairs) = Named::<Placed<Scalar>>::deserialize(deserializer)?;
        Ok(Self(pairs.into_iter().map(|(name, value)| Value { name, value }).collect()))
    }
}

impl<'de, K: Kind> Deserialize<'de> for Section<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnePair<K>(PhantomData<K>);
        impl<'de, K: Kind> Visitor<'de> for OnePair<K> {
            type Value = Section<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{{name: {{parameters}}}} of one {}", K::NAME)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section<K>, A::Error> {
                let Some(name) = map.next_key()? else {
                    return Err(A::Error::custom(format_args!(
                        "names no {}; allowed: one name: {{parameters}}",
                        K::NAME
                    )));
                };
                let values = map.next_value()?;
                if map.next_key::<Placed<String>>()?.is_some() {
                    return Err(A::Error::custom(format_args!(
                        "names more than one {}; allowed: one name: {{parameters}}",
                        K::NAME
                    )));
                }
                Ok(Section { name, values, kind: PhantomData })
            }
        }
        deserializer.deserialize_struct(K::NAME, &["name: {parameters}"], OnePair(PhantomData))
    }
}

impl<K: Kind> JsonSchema for Section<K> {
    fn schema_name() -> Cow<'static, str> {
        K::NAME.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default() // filled from the registry by `super::schema`
    }
}

impl JsonSchema for Values {
    fn schema_name() -> Cow<'static, str> {
        Train::NAME.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default() // filled from the registry by `super::schema`
    }
}
