//! The one error of a suite definition: one line that says where, what is wrong and what is allowed.

use std::fmt;

/// A place in a definition: line and column (from 1) and the dotted key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1; 0 where it is not known.
    pub line: u64,
    /// Column in characters, from 1; 0 where it is not known.
    pub column: u64,
    /// Dotted key, e.g. `experiments[0].recipe.model.transformer.width`; empty for the whole file.
    pub key: String,
}

/// A definition that does not hold.
///
/// Prints as one line: `suites/x.yaml:12:18: experiments[0].id: what is wrong; allowed: what is allowed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefinitionError {
    /// The file as the caller names it.
    pub file: String,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What is allowed; empty where the message says it all.
    pub allowed: String,
}

impl DefinitionError {
    /// An error at `place`; the file is filled in by [`super::parse`].
    pub(crate) fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into(), ..Self::default() }
    }

    /// Adds what is allowed.
    pub(crate) fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = allowed.into();
        self
    }

    /// Adds under which circumstances it is wrong.
    pub(crate) fn context(mut self, context: &str) -> Self {
        self.message = format!("{} ({context})", self.message);
        self
    }

    /// Fills in the place unless a deeper one is known already.
    pub(crate) fn or_at(mut self, place: impl FnOnce() -> Place) -> Self {
        if self.place.line == 0 {
            self.place = place();
        }
        self
    }
}

impl std::error::Error for DefinitionError {}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, key } = &self.place;
        let mut text = format!("{}:{line}:{column}: ", self.file);
        if !key.is_empty() {
            text += &format!("{key}: ");
        }
        text += &self.message;
        if !self.allowed.is_empty() {
            text += &format!("; allowed: {}", self.allowed);
        }
        f.write_str(&one_line(&text))
    }
}

/// `text` without line breaks and other control characters, whatever a definition put into it.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` as it is quoted in a message: at most 40 characters.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
        None => format!("`{text}`"),
    }
}

/// The names that are allowed, the nearest to `wanted` first, the others in their own order.
pub(crate) fn nearest_first<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    let nearest = (0..names.len()).min_by_key(|&i| strsim::damerau_levenshtein(wanted, names[i]));
    if let Some(nearest) = nearest {
        let first = names.remove(nearest);
        names.insert(0, first);
    }
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
