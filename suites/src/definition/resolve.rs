//! From parameters as written to complete ones: types, ranges, defaults, names.

use super::error::{DefinitionError, Place, nearest_first, quoted};
use super::reader::Placed;
use super::section::{Kind, Section, Value, Values};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset, Scalar, Spec};

type Result<T> = std::result::Result<T, DefinitionError>;

/// A resolved section and the thing that it builds.
pub(crate) struct Resolved<B> {
    /// Name and complete parameters.
    pub(crate) spec: Spec,
    /// What the registry built from them.
    pub(crate) built: B,
}

/// Looks up a section's name, completes its parameters and builds it once.
pub(crate) fn section<K: Kind, B>(table: &[Entry<B>], section: &Section<K>) -> Result<Resolved<B>> {
    let (entry, of) = entry(table, section)?;
    let params = params(entry.params, &section.values, &section.name.place, &of)?;
    let built = (entry.build)(&params).map_err(|e| misfit(e, &section.values, &section.name.place))?;
    Ok(Resolved { spec: Spec { name: entry.name.to_string(), params }, built })
}

/// Checks what is written of a section, complete or not.
pub(crate) fn written<K: Kind, B>(table: &[Entry<B>], section: &Section<K>) -> Result<()> {
    let (entry, of) = entry(table, section)?;
    each(entry.params, &section.values, &of)
}

/// The table's line for a section, and how messages call it.
fn entry<'t, K: Kind, B>(table: &'t [Entry<B>], section: &Section<K>) -> Result<(&'t Entry<B>, String)> {
    let name = &section.name;
    let entry = table.iter().find(|e| e.name == name.value).ok_or_else(|| {
        let message = format!("unknown {} {}", K::NAME, quoted(&name.value));
        DefinitionError::at(&name.place, message).allowed(nearest_first(&name.value, table.iter().map(|e| e.name)))
    })?;
    Ok((entry, format!("{} `{}`", K::NAME, entry.name)))
}

/// Puts an [`Invalid`] at the parameter that it names, or at the section where a default is at fault.
fn misfit(invalid: Invalid, values: &Values, section: &Place) -> DefinitionError {
    let Invalid { key, message } = invalid;
    let place = match values.get(&key) {
        Some(value) => value.place.clone(),
        None if key.is_empty() => section.clone(),
        None => Place { key: format!("{}.{key}", section.key), ..section.clone() },
    };
    let (wrong, allowed) = message.split_once("; allowed: ").unwrap_or((&message, ""));
    DefinitionError::at(&place, wrong).allowed(allowed)
}

/// Checks the names, types and ranges of the parameters that are given. `of` is what they belong to, e.g.
/// `` model `transformer` ``.
pub(crate) fn each(defs: &[ParamDef], given: &Values, of: &str) -> Result<()> {
    for Value { name, value } in &given.0 {
        let def = defs.iter().find(|d| d.name == name.value).ok_or_else(|| {
            let message = format!("unknown parameter {} of {of}", quoted(&name.value));
            let allowed = nearest_first(&name.value, defs.iter().map(|d| d.name));
            DefinitionError::at(&name.place, message).allowed(allowed)
        })?;
        check(def.kind, value)?;
    }
    Ok(())
}

/// Checks parameters and completes them by defaults. `place` is where a missing one is reported.
pub(crate) fn params(defs: &[ParamDef], given: &Values, place: &Place, of: &str) -> Result<Params> {
    each(defs, given, of)?;
    let mut params = Params::default();
    for def in defs {
        let value = match given.get(def.name) {
            Some(value) => check(def.kind, value)?,
            None => preset(def.default).ok_or_else(|| {
                let message = format!("parameter `{}` of {of} is missing", def.name);
                DefinitionError::at(place, message).allowed(describe(def.kind))
            })?,
        };
        params.0.insert(def.name.to_string(), value);
    }
    Ok(params)
}

fn preset(default: Preset) -> Option<Scalar> {
    match default {
        Preset::Required => None,
        Preset::Int(x) => Some(Scalar::Int(x)),
        Preset::Real(x) => Some(Scalar::Real(x)),
        Preset::Text(x) => Some(Scalar::Text(x.to_string())),
        Preset::Flag(x) => Some(Scalar::Flag(x)),
    }
}

/// `value` as `kind` wants it: in its range, a whole number as a real where a real is declared.
fn check(kind: ParamKind, value: &Placed<Scalar>) -> Result<Scalar> {
    let checked = match (kind, &value.value) {
        (ParamKind::Int { min, max } | ParamKind::IntOr { min, max, .. }, Scalar::Int(x))
            if (min..=max).contains(x) =>
        {
            Some(Scalar::Int(*x))
        }
        (ParamKind::IntOr { word, .. }, Scalar::Text(x)) if x == word => Some(value.value.clone()),
        (ParamKind::Real { min, max }, Scalar::Real(x)) if (min..=max).contains(x) => {
            Some(Scalar::Real(positive_zero(*x)))
        }
        (ParamKind::Real { min, max }, Scalar::Int(x)) if (min..=max).contains(&(*x as f64)) => {
            Some(Scalar::Real(*x as f64))
        }
        (ParamKind::Choice(words), Scalar::Text(x)) if words.contains(&x.as_str()) => Some(value.value.clone()),
        (ParamKind::Flag, Scalar::Flag(_)) | (ParamKind::Text, Scalar::Text(_)) => Some(value.value.clone()),
        _ => None,
    };
    checked.ok_or_else(|| {
        let allowed = match (kind, &value.value) {
            (ParamKind::Choice(words), Scalar::Text(x)) => nearest_first(x, words.iter().copied()),
            _ => describe(kind),
        };
        DefinitionError::at(&value.place, format!("is {}", shown(&value.value))).allowed(allowed)
    })
}

/// `-0.0` and `0.0` are one value, so they are one run.
fn positive_zero(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x }
}

fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Text(x) => quoted(x),
        other => other.to_string(),
    }
}

/// What a parameter may be, in words.
pub(crate) fn describe(kind: ParamKind) -> String {
    match kind {
        ParamKind::Int { min, max } => format!("a whole number from {min} to {max}"),
        ParamKind::IntOr { min, max, word } => format!("a whole number from {min} to {max}, or {word}"),
        ParamKind::Real { min: f64::MIN_POSITIVE, max } => format!("a number above 0.0, to {max:?}"),
        ParamKind::Real { min, max } => format!("a number from {min:?} to {max:?}"),
        ParamKind::Choice(words) => words.join(", "),
        ParamKind::Flag => "true, false".into(),
        ParamKind::Text => "text".into(),
    }
}
