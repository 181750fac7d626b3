//! The JSON schema of a suite's YAML, for editors: wire types by derive, sections from the registry.

use super::budget;
use super::section::{Kind, Model, Optimizer, Schedule, Task, Train};
use super::tables::Registry;
use super::wire::SuiteWire;
use crate::registry::{Entry, ParamDef, ParamKind, Preset};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema (draft 2020-12) of suites that use `registry`.
pub fn schema(registry: &Registry) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = Value::from(generator.into_root_schema_for::<SuiteWire>());
    root["title"] = json!("Preheat suite");
    let Registry { models, tasks, optimizers, schedules, train } = registry;
    let defs = root["$defs"].as_object_mut().expect("the wire types refer to the sections");
    defs.insert(Model::NAME.into(), section(models));
    defs.insert(Task::NAME.into(), section(tasks));
    defs.insert(Optimizer::NAME.into(), section(optimizers));
    defs.insert(Schedule::NAME.into(), with_words(section(schedules)));
    let all: Vec<ParamDef> = train.iter().chain(budget::TRAIN).copied().collect();
    defs.insert(Train::NAME.into(), parameters(&all));

    let paths = json!({"enum": paths(registry)});
    for (owner, key) in [("ExperimentWire", "grid"), ("ExperimentWire", "take"), ("TierWire", "grid")] {
        let map = defs.get_mut(owner).and_then(|o| o["properties"].get_mut(key));
        map.expect("a field of the wire type")["propertyNames"] = paths.clone();
    }
    let show = defs.get_mut("ExperimentWire").and_then(|o| o["properties"].get_mut("show"));
    show.expect("a field of the wire type")["minProperties"] = json!(1);
    let tiers = &mut defs.get_mut("ExperimentWire").expect("a wire type")["properties"]["tiers"];
    tiers["propertyNames"] = json!({"$ref": "#/$defs/Tier"});
    root
}

/// `{name: {parameters}}` of one registered thing.
fn section<B>(table: &[Entry<B>]) -> Value {
    let entries = table.iter().map(|entry| {
        let mut value = parameters(entry.params);
        value["description"] = json!(entry.doc);
        (entry.name.to_string(), value)
    });
    let properties: Map<String, Value> = entries.collect();
    json!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": false,
        "properties": properties,
    })
}

/// Schedules take their warm-up in tokens, too.
fn with_words(mut schedules: Value) -> Value {
    let all = schedules["properties"].as_object_mut().into_iter().flat_map(|all| all.values_mut());
    for properties in all.filter_map(|one| one["properties"].as_object_mut()) {
        if properties.contains_key("warmup_steps") {
            properties.extend(budget::SCHEDULE.iter().map(|def| (def.name.to_string(), parameter(def))));
        }
    }
    schedules
}

/// None is required: a patch gives some, and completeness is checked after merging.
fn parameters(defs: &[ParamDef]) -> Value {
    let properties: Map<String, Value> = defs.iter().map(|def| (def.name.to_string(), parameter(def))).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn parameter(def: &ParamDef) -> Value {
    let mut schema = match def.kind {
        ParamKind::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        ParamKind::IntOr { min, max, word } => {
            json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, {"const": word}]})
        }
        ParamKind::Real { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        ParamKind::Choice(words) => json!({"enum": words}),
        ParamKind::Flag => json!({"type": "boolean"}),
        ParamKind::Text => json!({"type": "string"}),
    };
    schema["description"] = json!(def.doc);
    match def.default {
        Preset::Required => {}
        Preset::Int(x) => schema["default"] = json!(x),
        Preset::Real(x) => schema["default"] = json!(x),
        Preset::Text(x) => schema["default"] = json!(x),
        Preset::Flag(x) => schema["default"] = json!(x),
    }
    schema
}

/// Every `section.parameter`, once.
fn paths(registry: &Registry) -> Vec<String> {
    fn of<'t, B>(section: &'t str, table: &'t [Entry<B>]) -> impl Iterator<Item = String> + 't {
        table.iter().flat_map(|e| e.params).map(move |p| format!("{section}.{}", p.name))
    }
    let Registry { models, tasks, optimizers, schedules, train } = registry;
    let mut paths: Vec<String> = of(Model::NAME, models)
        .chain(of(Task::NAME, tasks))
        .chain(of(Optimizer::NAME, optimizers))
        .chain(of(Schedule::NAME, schedules))
        .chain(budget::SCHEDULE.iter().map(|p| format!("{}.{}", Schedule::NAME, p.name)))
        .chain(train.iter().chain(budget::TRAIN).map(|p| format!("{}.{}", Train::NAME, p.name)))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}
