//! A sweep's table read with distrust, and the laws of rate, batch and β₂ over the size that it gives.

use crate::table::{Style, draw, number};
use preheat_suites::fits::tuning::{Knob, Trial, Tuned, TuningLaw, law, tuned};
use serde::Serialize;

/// The columns that every sweep has; `beta2` may be there too.
pub const COLUMNS: [&str; 4] = ["params", "batch", "peak_lr", "loss"];
const BETA2: &str = "beta2";

/// What was found. What `--format json` prints.
#[derive(Debug, Serialize)]
pub struct Sweep {
    /// Version of this shape.
    pub schema: u32,
    /// The table.
    pub file: String,
    /// The best of every size, rising; a knob without one says why.
    pub sizes: Vec<SizeRow>,
    /// The laws over the sizes whose best lies inside the grid.
    pub laws: Vec<LawRow>,
    /// Rows that are left out, and faults of the grid.
    pub warnings: Vec<String>,
}

/// The best of a size.
#[derive(Debug, Serialize)]
pub struct SizeRow {
    /// Parameters.
    pub params: f64,
    /// The best rate.
    pub peak_lr: Option<f64>,
    /// The best batch.
    pub batch: Option<f64>,
    /// The best β₂ of those that were tried.
    pub beta2: Option<f64>,
    /// The lowest loss of a run, nats a token.
    pub loss: f64,
}

/// A law, or why there is none.
#[derive(Debug, Serialize)]
pub struct LawRow {
    /// `peak_lr`, `batch`, or `1 - beta2`.
    pub what: &'static str,
    /// value = coefficient · params^exponent.
    #[serde(flatten)]
    pub law: Option<TuningLaw>,
    /// Why there is none.
    pub why: Option<String>,
}

/// Whether a table is a sweep: it has a rate and no budget.
pub fn is_sweep(bytes: &[u8]) -> bool {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let has = |header: &csv::StringRecord, name: &str| header.iter().any(|column| column == name);
    reader.headers().is_ok_and(|header| has(header, "peak_lr") && !has(header, "budget_flops"))
}

/// Reads and fits a sweep; `file` is its name in messages.
///
/// # Errors
/// One line: file, line, column, and what is wrong.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Sweep, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let unreadable = |e: csv::Error| match e.position() {
        Some(position) => {
            format!("{file}:{}: not readable as CSV in UTF-8, or a row of another length", position.line())
        }
        None => format!("{file}: not readable as CSV in UTF-8"),
    };
    let header = reader.headers().map_err(unreadable)?.clone();
    let find = |wanted: &str| header.iter().position(|name| name == wanted);
    let missing: Vec<&str> = COLUMNS.into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        let needed = COLUMNS.join(", ");
        return Err(format!(
            "{file}:1: no column {}; a sweep needs {needed}, and may have {BETA2}",
            missing.join(", ")
        ));
    }
    let (mut trials, mut warnings) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, csv::Position::line);
        let value = |name: &str| -> Result<f64, String> {
            let Some(column) = find(name) else { return Ok(f64::NAN) };
            let text = &record[column];
            let parsed = if name == "loss" && text.is_empty() { Ok(f64::NAN) } else { text.parse::<f64>() };
            let at = || format!("{file}:{line}:{}: {name} is `{text}`", column + 1);
            match parsed {
                Err(_) => Err(format!("{}; a number is needed", at())),
                Ok(x) if name == "loss" && !x.is_finite() && x != f64::NEG_INFINITY => Ok(f64::NAN),
                Ok(x) if name == BETA2 && !(0.0..1.0).contains(&x) => {
                    Err(format!("{}; it must be from 0 to below 1", at()))
                }
                Ok(x) if x.is_finite() && (x > 0.0 || name == BETA2) => Ok(x),
                Ok(_) => Err(format!("{}; it must be positive and finite", at())),
            }
        };
        let [params, batch, rate, loss] = COLUMNS.map(value);
        let (beta2, loss) = (value(BETA2)?, loss?);
        let trial = Trial {
            params: params?,
            batch: batch?,
            rate: rate?,
            beta2: if beta2.is_nan() { 0.0 } else { beta2 },
            loss,
        };
        if loss.is_nan() {
            warnings.push(format!("{file}:{line}: the loss is no number; the row is left out"));
        } else {
            trials.push(trial);
        }
    }
    if trials.is_empty() {
        return Err(format!("{file}: no row has a loss"));
    }
    let sizes = tuned(&trials);
    warnings.extend(faults(&sizes));
    let laws = [(Knob::Rate, "peak_lr"), (Knob::Batch, "batch"), (Knob::Beta2, "1 - beta2")];
    let laws =
        laws.into_iter().filter(|(knob, _)| varies(&trials, *knob)).map(|(knob, what)| match law(&sizes, knob) {
            Ok(law) => LawRow { what, law: Some(law), why: None },
            Err(why) => LawRow { what, law: None, why: Some(why) },
        });
    let laws: Vec<LawRow> = laws.collect();
    if laws.is_empty() {
        return Err(format!(
            "{file}: one rate, one batch and one beta2 were tried; a law needs several of one of them"
        ));
    }
    Ok(Sweep { schema: 1, file: file.into(), laws, sizes: sizes.into_iter().map(row).collect(), warnings })
}

/// Whether more than one value of a knob was tried.
fn varies(trials: &[Trial], knob: Knob) -> bool {
    let of = |trial: &Trial| match knob {
        Knob::Rate => trial.rate,
        Knob::Batch => trial.batch,
        Knob::Beta2 => trial.beta2,
    };
    trials.iter().any(|trial| of(trial) != of(&trials[0]))
}

fn faults(sizes: &[Tuned]) -> Vec<String> {
    let edge = |size: &Tuned, found: &Result<f64, String>| {
        let why = found.as_ref().err().filter(|why| why.contains("edge"))?;
        Some(format!("a fault of the grid at {} parameters: {why}; left out", size.params))
    };
    sizes.iter().flat_map(|size| [edge(size, &size.rate), edge(size, &size.batch)]).flatten().collect()
}

fn row(size: Tuned) -> SizeRow {
    let Tuned { params, rate, batch, beta2, loss } = size;
    SizeRow { params, peak_lr: rate.ok(), batch: batch.ok(), beta2: beta2.ok(), loss }
}

/// Both tables as text.
pub fn text(sweep: &Sweep, style: Style) -> String {
    let header = |words: &[&str]| vec![words.iter().map(ToString::to_string).collect::<Vec<_>>()];
    let mut sizes = header(&["N", "best rate", "best batch", "best β₂", "lowest loss"]);
    let one = |x: Option<f64>| x.map(number).unwrap_or_default();
    sizes.extend(
        sweep.sizes.iter().map(|size| {
            vec![number(size.params), one(size.peak_lr), one(size.batch), one(size.beta2), number(size.loss)]
        }),
    );
    let mut laws = header(&["law", "exponent of N", "at one parameter", "R²", "sizes"]);
    laws.extend(sweep.laws.iter().map(|row| match &row.law {
        Some(law) => vec![
            row.what.to_string(),
            format!("{:.4}", law.exponent),
            format!("{:.3e}", law.coefficient),
            format!("{:.3}", law.r2),
            law.n.to_string(),
        ],
        None => {
            vec![row.what.into(), "no law".into(), String::new(), String::new(), row.why.clone().unwrap_or_default()]
        }
    }));
    let about = "The best of each size: rate and batch by the lowest point of a local cubic in logarithms, β₂ of those that were\n\
                 tried. Laws are least squares in logarithms over the sizes whose best lies inside the grid.";
    format!("{}\n\n{about}\n\n{}\n", draw(sizes, style), draw(laws, style))
}

/// The laws and sizes as CSV.
pub fn csv(sweep: &Sweep) -> String {
    let mut text = String::from("what,params,value,exponent,coefficient,r2,n\n");
    for size in &sweep.sizes {
        let values =
            [("peak_lr", size.peak_lr), ("batch", size.batch), ("beta2", size.beta2), ("loss", Some(size.loss))];
        for (what, value) in values.into_iter().filter_map(|(what, value)| Some((what, value?))) {
            text.push_str(&format!("{what},{},{value},,,,\n", size.params));
        }
    }
    for row in &sweep.laws {
        if let Some(law) = row.law {
            text.push_str(&format!("{},,,{},{},{},{}\n", row.what, law.exponent, law.coefficient, law.r2, law.n));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> String {
        let mut text = String::from("params,batch,peak_lr,beta2,loss\n");
        for params in [1e6, 2e6, 4e6] {
            let best = libm::pow(params, -0.5);
            for step in -2..=2 {
                let rate = best * libm::pow(2.0, f64::from(step) + 0.2);
                let loss = 3.0 + libm::log(rate / best) * libm::log(rate / best);
                text.push_str(&format!("{params},8,{rate},0.99,{loss}\n"));
            }
        }
        text
    }

    #[test]
    fn laws_come_back_and_what_did_not_vary_has_none() {
        assert!(is_sweep(table().as_bytes()) && !is_sweep(b"budget_flops,params,tokens,loss,peak_lr\n"));
        let found = parse("t.csv", table().as_bytes()).unwrap();
        assert_eq!(found.laws.len(), 1);
        let law = found.laws[0].law.unwrap();
        assert!((law.exponent + 0.5).abs() < 1e-6 && (law.coefficient - 1.0).abs() < 1e-4, "{law:?}");
        assert!(text(&found, Style::Plain).contains("-0.5000"));
        assert!(csv(&found).contains(&format!("peak_lr,,,{},", law.exponent)), "{}", csv(&found));
    }

    #[test]
    fn faults_are_named_where_they_are() {
        for (from, to, expected) in [
            (
                "peak_lr",
                "rate",
                "t.csv:1: no column peak_lr; a sweep needs params, batch, peak_lr, loss, and may have beta2",
            ),
            ("0.99", "1.5", "t.csv:2:4: beta2 is `1.5`; it must be from 0 to below 1"),
            ("1000000,8", "1000000,-8", "t.csv:2:2: batch is `-8`; it must be positive and finite"),
            ("1000000,8", "1000000,x", "t.csv:2:2: batch is `x`; a number is needed"),
        ] {
            assert_eq!(parse("t.csv", table().replace(from, to).as_bytes()).unwrap_err(), expected);
        }
        let edge: String = table()
            .lines()
            .enumerate()
            .filter(|(i, _)| ![4, 5, 6].contains(i))
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        let found = parse("t.csv", edge.as_bytes()).unwrap();
        assert!(found.laws[0].why.as_ref().unwrap().starts_with("2 of 3 sizes have an optimum inside"));
        assert!(parse("t.csv", b"params,batch,peak_lr,loss\n1,2,3,nan\n").unwrap_err().contains("no row has a loss"));
        assert!(parse("t.csv", b"params,batch,peak_lr,loss\n1,2,3,4\n").unwrap_err().contains("one rate, one batch"));
    }
}
