//! A table of points read with distrust: every fault has its file, line and column; a row that a fit cannot use is named.

use preheat_suites::fits::accounting::Convention;
use preheat_suites::fits::curve::Point;
use preheat_suites::fits::published::Group;
use std::collections::BTreeMap;

/// The columns that every table has.
pub const COLUMNS: [&str; 4] = ["budget_flops", "params", "tokens", "loss"];
/// The text column that names the convention.
pub const COUNTING: &str = "counting";
/// Rows of one kind that are named one by one.
const NAMED_ROWS: usize = 5;
/// How far 6·params·tokens may be from the budget before a row is named: the authors' tolerance.
const FLOP_TOLERANCE: f64 = 0.1;

/// The points of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Text columns and their values.
    pub group: Group,
    /// How FLOPs are counted.
    pub convention: Convention,
    /// One a usable row, in the table's order.
    pub points: Vec<Point>,
    /// Sizes under the standard count and under this one, rising, where both are known.
    pub sizes: Vec<[f64; 2]>,
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Groups in the order of their first rows.
    pub groups: Vec<Rows>,
    /// What a reader must know: rows that are left out or doubtful, columns that are not used.
    pub warnings: Vec<String>,
}

/// What the command line says about a table.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The convention of every row, where the table has no column for it.
    pub counting: Option<Convention>,
    /// Columns that make groups although they hold numbers.
    pub group: Vec<String>,
}

/// Reads a CSV table; `file` is its name in messages.
///
/// # Errors
/// One line: file, line, column, and what is wrong.
pub fn parse(file: &str, bytes: &[u8], words: &Words) -> Result<Table, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().map_err(|e| unreadable(file, &e))?.clone();
    let columns = Columns::of(file, &header, words)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| unreadable(file, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            return Err(format!("{file}:{line}: {} fields; the header has {}", record.len(), header.len()));
        }
        rows.push((line, record));
    }
    if rows.is_empty() {
        return Err(format!("{file}: no rows below the header"));
    }
    let mut warnings = Warnings::default();
    let text = columns.text(&header, &rows, words, &mut warnings);
    let mut groups: Vec<(Rows, BTreeMap<[u64; 2], u64>)> = Vec::new();
    for (line, record) in &rows {
        let at = |column: usize| format!("{file}:{line}:{}", column + 1);
        let Some(point) = columns.point(record, &at, file, *line, &mut warnings)? else { continue };
        let convention = columns.convention(record, &at, words)?;
        let group: Group = text.iter().map(|c| (header[*c].to_string(), record[*c].to_string())).collect();
        let place = match groups.iter().position(|(rows, _)| rows.group == group && rows.convention == convention) {
            Some(place) => place,
            None => {
                groups.push((Rows { group, convention, points: Vec::new(), sizes: Vec::new() }, BTreeMap::new()));
                groups.len() - 1
            }
        };
        let (found, seen) = &mut groups[place];
        if let Some(first) = seen.insert([point.flops.to_bits(), point.params.to_bits()], *line) {
            warnings.row(file, *line, &format!("repeats the budget and size of line {first}; the lower loss is kept"));
        }
        let product = 6.0 * point.params * point.tokens / point.flops;
        if convention != Convention::ChinchillaExact && (product - 1.0).abs() > FLOP_TOLERANCE {
            warnings.row(file, *line, &format!("6·params·tokens is {product:.3} of the budget"));
        }
        found.points.push(point);
    }
    let groups = groups.into_iter().map(|(rows, _)| rows).collect();
    Ok(Table { groups, warnings: warnings.lines() })
}

fn unreadable(file: &str, error: &csv::Error) -> String {
    match error.position() {
        Some(position) => format!("{file}:{}: not readable as CSV in UTF-8", position.line()),
        None => format!("{file}: not readable as CSV in UTF-8"),
    }
}

/// Which column holds what.
struct Columns {
    /// Of [`COLUMNS`].
    numbers: [usize; 4],
    counting: Option<usize>,
}

impl Columns {
    fn of(file: &str, header: &csv::StringRecord, words: &Words) -> Result<Self, String> {
        let names: Vec<&str> = header.iter().collect();
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(format!("{file}:1:{}: a second column {name}", i + 1));
            }
        }
        let find = |wanted: &str| names.iter().position(|name| *name == wanted);
        let missing: Vec<&str> = COLUMNS.into_iter().filter(|name| find(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(format!(
                "{file}:1: no column {}; needed: {}; found: {}",
                missing.join(", "),
                COLUMNS.join(", "),
                names.join(", ")
            ));
        }
        if let Some(unknown) = words.group.iter().find(|name| find(name).is_none()) {
            return Err(format!("--group {unknown}: {file} has no such column; found: {}", names.join(", ")));
        }
        let counting = find(COUNTING);
        if counting.is_none() && words.counting.is_none() {
            return Err(format!(
                "{file}:1: no column {COUNTING}, and no --counting; a fit must say how FLOPs are counted: {}",
                Convention::names()
            ));
        }
        Ok(Self { numbers: COLUMNS.map(|name| find(name).unwrap_or_default()), counting })
    }

    /// The columns that make groups: those with a value that is no number, the convention's, and those that were asked
    /// for.
    fn text(
        &self,
        header: &csv::StringRecord,
        rows: &[(u64, csv::StringRecord)],
        words: &Words,
        warnings: &mut Warnings,
    ) -> Vec<usize> {
        let mut text = Vec::new();
        for (column, name) in header.iter().enumerate().filter(|(column, _)| !self.numbers.contains(column)) {
            let asked = words.group.iter().any(|group| group == name) || self.counting == Some(column);
            if asked || rows.iter().any(|(_, row)| row[column].parse::<f64>().is_err()) {
                text.push(column);
            } else if rows.iter().any(|(_, row)| row[column] != rows[0].1[column]) {
                warnings.whole(format!(
                    "column {name} holds numbers and is not used; `--group {name}` would make groups of it"
                ));
            }
        }
        text
    }

    /// The point of a row; `None` where its loss is no number, as after a run that diverged.
    fn point(
        &self,
        row: &csv::StringRecord,
        at: &impl Fn(usize) -> String,
        file: &str,
        line: u64,
        warnings: &mut Warnings,
    ) -> Result<Option<Point>, String> {
        let mut values = [0.0; 4];
        for ((value, column), name) in values.iter_mut().zip(self.numbers).zip(COLUMNS) {
            let text = &row[column];
            let parsed = if name == "loss" && text.is_empty() { Ok(f64::NAN) } else { text.parse::<f64>() };
            *value = parsed.map_err(|_| format!("{}: {name} is `{text}`; a number is needed", at(column)))?;
            if name == "loss" && !value.is_finite() && *value != f64::NEG_INFINITY {
                let what = if text.is_empty() { "missing" } else { text };
                warnings.row(file, line, &format!("the loss is {what}; the row is left out"));
                return Ok(None);
            }
            if !value.is_finite() || *value <= 0.0 {
                return Err(format!("{}: {name} is {text}; it must be positive and finite", at(column)));
            }
        }
        let [flops, params, tokens, loss] = values;
        Ok(Some(Point { flops, params, tokens, loss }))
    }

    fn convention(
        &self,
        row: &csv::StringRecord,
        at: &impl Fn(usize) -> String,
        words: &Words,
    ) -> Result<Convention, String> {
        let Some(column) = self.counting else { return Ok(words.counting.unwrap_or(Convention::Standard)) };
        let own = Convention::of(&row[column]).ok_or_else(|| {
            format!("{}: counting is `{}`; allowed: {}", at(column), &row[column], Convention::names())
        })?;
        match words.counting {
            Some(word) if word != own => {
                Err(format!("{}: counting is {}, and --counting says {}", at(column), own.name(), word.name()))
            }
            _ => Ok(own),
        }
    }
}

/// Warnings about rows, where many of one kind are counted and not listed.
#[derive(Default)]
struct Warnings {
    whole: Vec<String>,
    /// By kind, which is the text without its digits.
    rows: BTreeMap<String, Vec<String>>,
}

impl Warnings {
    fn whole(&mut self, line: String) {
        self.whole.push(line);
    }

    fn row(&mut self, file: &str, line: u64, what: &str) {
        let kind = what.replace(|c: char| c.is_ascii_digit() || c == '.', "");
        self.rows.entry(kind).or_default().push(format!("{file}:{line}: {what}"));
    }

    fn lines(self) -> Vec<String> {
        let mut all = self.whole;
        for (_, mut lines) in self.rows {
            let more = lines.len().saturating_sub(NAMED_ROWS);
            lines.truncate(NAMED_ROWS);
            all.append(&mut lines);
            if more > 0 {
                all.push(format!("… and {more} more rows of this kind"));
            }
        }
        all
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
