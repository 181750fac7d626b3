//! `--task NAME=FILE[,KEY=VALUE…]`: a task on a file of one's own, pinned to the file's hash.

use super::data;
use crate::exit::Failure;
use preheat_suites::definition::{Registry, parse_task};
use preheat_suites::registry::{Entry, ParamDef, ParamKind, Spec};
use preheat_suites::tasks::TaskBuilder;

/// The task that the word names.
///
/// # Errors
/// Another form, a file that cannot be read, a parameter that is wrong (2).
pub(super) fn task(word: &str, registry: &Registry) -> Result<Spec, Failure> {
    let takes_file = |entry: &&Entry<Box<dyn TaskBuilder>>| PINNED.iter().all(|key| def(entry.params, key).is_some());
    let tasks: Vec<_> = registry.tasks.iter().filter(takes_file).collect();
    let split = word.split_once('=').and_then(|(name, rest)| Some((tasks.iter().find(|e| e.name == name)?, rest)));
    let Some((entry, (path, options))) =
        split.map(|(entry, rest)| (entry, options(rest))).filter(|(_, x)| !x.0.is_empty())
    else {
        let forms: Vec<String> = tasks.iter().map(|e| format!("{}=FILE[,KEY=VALUE…]", e.name)).collect();
        return Err(Failure::usage(format!("--task {word}: allowed: {}", forms.join(", "))));
    };
    let bytes = data::read(path).map_err(|e| Failure::usage(format!("--task {}=FILE: {}", entry.name, e.message)))?;
    let hash = data::sha256(&bytes);
    let mut parameters = vec![("path", quoted(path)?), ("sha256", quoted(&hash)?)];
    for (key, value) in options {
        if PINNED.contains(&key) || def(entry.params, key).is_none() {
            let allowed: Vec<_> = entry.params.iter().map(|d| d.name).filter(|name| !PINNED.contains(name)).collect();
            let name = entry.name;
            return Err(Failure::usage(format!("--task {name}=FILE: {key}: allowed: {}", allowed.join(", "))));
        }
        parameters.push((key, scalar(def(entry.params, key), value)?));
    }
    let parameters: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let yaml = format!("{{{}: {{{}}}}}", entry.name, parameters.join(", "));
    parse_task("--task", &yaml, registry).map_err(Failure::usage)
}

/// What the file itself decides.
const PINNED: [&str; 2] = ["path", "sha256"];

fn def<'d>(params: &'d [ParamDef], key: &str) -> Option<&'d ParamDef> {
    params.iter().find(|d| d.name == key)
}

/// The file, and the `,key=value` behind it. A name of a file may hold commas, not a comma and `word=` behind it.
fn options(rest: &str) -> (&str, Vec<(&str, &str)>) {
    let (mut path, mut options) = (rest, Vec::new());
    while let Some((before, last)) = path.rsplit_once(',') {
        let is_key = |key: &str| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let Some(option) = last.split_once('=').filter(|(key, _)| is_key(key)) else { break };
        options.insert(0, option);
        path = before;
    }
    (path, options)
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> Result<String, Failure> {
    serde_json::to_string(text).map_err(Failure::usage)
}

/// A number stays one where a number is wanted; all else is text, of which the reader then says what is allowed.
fn scalar(def: Option<&ParamDef>, value: &str) -> Result<String, Failure> {
    let number = match def.map(|d| d.kind) {
        Some(ParamKind::Int { .. }) => value.parse::<i64>().ok().map(|x| x.to_string()),
        Some(ParamKind::Real { .. }) => value.parse().ok().filter(|x: &f64| x.is_finite()).map(|x| format!("{x:?}")),
        Some(ParamKind::Flag) => value.parse::<bool>().ok().map(|x| x.to_string()),
        _ => None,
    };
    number.map_or_else(|| quoted(value), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use std::fs;

    fn refused(word: &str) -> String {
        let failure = task(word, &Registry::builtin()).expect_err(word);
        assert_eq!(failure.exit, Exit::Usage, "{word}");
        failure.message
    }

    #[test]
    fn a_file_becomes_a_task_pinned_to_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a \"b\",c=d, e.txt");
        fs::write(&path, "abc").unwrap();
        let path = path.to_str().unwrap();
        for (word, name, seq) in [
            (format!("text={path}"), "text", 64),
            (format!("text={path},seq=8,validation=.25"), "text", 8),
            (format!("tokens={path},vocab=300,seq=9"), "tokens", 9),
        ] {
            let spec = task(&word, &Registry::builtin()).expect(&word);
            assert_eq!((spec.name.as_str(), spec.params.int("seq")), (name, seq), "{word}");
            assert_eq!(spec.params.text("path"), path);
            assert_eq!(spec.params.text("sha256"), data::sha256(b"abc"));
        }
        for (option, expected) in [
            ("vocab=many", "vocab: is `many`; allowed: a whole number from 0 to 1048576"),
            ("vocab=1.5", "vocab: is `1.5`; allowed: a whole number"),
            ("vocab=-1", "vocab: is -1; allowed: a whole number"),
            ("format=npy", "format: is `npy`; allowed: "),
            ("format=x}}", "format: is `x}}`"),
            ("sha256=00", "sha256: allowed: format, vocab, seq, validation"),
            ("width=3", "width: allowed: format, vocab, seq, validation"),
        ] {
            let why = refused(&format!("tokens={path},{option}"));
            assert!(why.contains(expected) && why.lines().count() == 1, "{option}: {why}");
        }
    }

    #[test]
    fn another_form_is_refused_with_the_forms_there_are() {
        for word in ["text", "text=", "=a", "", "audio=x", "language=x", "tokens=,seq=3"] {
            let why = refused(word);
            assert!(why.ends_with("allowed: text=FILE[,KEY=VALUE…], tokens=FILE[,KEY=VALUE…]"), "{why}");
        }
        assert!(refused("text=no/such/file").contains("no/such/file: "));
    }
}
