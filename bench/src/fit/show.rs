//! A table's fits for people, as CSV, and for a page.

use super::outcome::{Fit, Outcome, name};
use crate::table::{Style, count, draw, interval, number, verdict_name};
use preheat_suites::claims::Expect;
use preheat_suites::fits::isoflop::Procedure;
use preheat_suites::fits::noise::Reading;
use preheat_suites::fits::published::ClaimRow;

/// All of it as text.
pub fn text(outcome: &Outcome, style: Style) -> String {
    let mut parts = vec![about(outcome), draw(laws(outcome), style)];
    let mut table = |title: &str, rows: Vec<Vec<String>>| {
        if rows.len() > 1 {
            parts.push(format!("{title}\n\n{}", draw(rows, style)));
        }
    };
    table(
        "Predictions: what the law says at a budget, with its 95 % interval; batch (sequences of 2048) and rate at N* by the\n\
         laws of Porian et al. 2024, fitted to 25 M to 110 M parameters, β₂ = 0.999^(batch/32).",
        predictions(outcome),
    );
    table("The noise model as it is meant, beside the fit.", other_noise(outcome));
    table("L = E + A/N^α + B/D^β (Huber loss of ln L; intervals by rows drawn with replacement).", parametric(outcome));
    if let Some(paper) = outcome.paper {
        table(&format!("Beside what is published: {paper}."), arms(outcome));
        table("Claims", claims(outcome));
    }
    for claim in &outcome.claims {
        parts.push(sentence(claim));
    }
    parts.join("\n\n").replace(".\n\nP", ".\nP") + "\n"
}

fn about(outcome: &Outcome) -> String {
    let how = match outcome.procedure {
        Procedure::Authors => {
            "Akima's interpolation of ln L in ln N; N* is the median of the bootstrap draws (Porian et al. 2024)"
        }
        Procedure::Local => "a local cubic of L in ln N",
    };
    format!(
        "{}: {how}; chosen because of: {}. Weights 1/s² of each budget's spread, {} draws, seed {}.",
        outcome.file, outcome.because, outcome.bootstraps, outcome.seed
    )
}

fn header(words: &[&str]) -> Vec<Vec<String>> {
    vec![words.iter().map(ToString::to_string).collect()]
}

fn laws(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["group", "count", "N* ∝ C^", "95 %", "N* at 1 FLOP", "R²", "budgets", "D/N", "noise"]);
    for fit in &outcome.fits {
        let ratio = fit.tokens_per_param.map(|[low, high]| format!("{} to {}", number(low), number(high)));
        rows.push(vec![
            name(&fit.group),
            fit.convention.into(),
            fit.exponent.map(exponent).unwrap_or_else(|| "no law".into()),
            fit.interval.map(ends).unwrap_or_default(),
            fit.coefficient.map(|k| format!("{k:.3e}")).unwrap_or_default(),
            fit.r2.map(|r2| format!("{r2:.3}")).unwrap_or_default(),
            fit.why.clone().unwrap_or_else(|| format!("{} of {}", fit.n, fit.budgets.len())),
            ratio.unwrap_or_default(),
            noise(fit),
        ]);
    }
    rows
}

fn noise(fit: &Fit) -> String {
    let Some(noise) = fit.noise else { return String::new() };
    let model = noise.model;
    let sigma = if model.is_constant() || noise.reading == Reading::Coded {
        number(model.low)
    } else {
        format!("{} to {}", number(model.low), number(model.high))
    };
    if noise.estimated { format!("{sigma}, estimated") } else { sigma }
}

fn exponent(x: f64) -> String {
    format!("{x:.4}")
}

fn ends([low, high]: [f64; 2]) -> String {
    format!("[{low:.4}, {high:.4}]")
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{} to {}", size(low), size(high))
}

/// `76.9 G`.
fn size(x: f64) -> String {
    if (1.0..1e18).contains(&x) { count(x) } else { number(x) }
}

fn predictions(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["group", "C, FLOPs", "N*", "95 %", "D*, tokens", "95 %", "batch", "rate", "β₂"]);
    for fit in &outcome.fits {
        for p in &fit.predictions {
            rows.push(vec![
                name(&fit.group),
                format!("{:e}", p.flops),
                size(p.params),
                range(p.params_interval),
                size(p.tokens),
                range(p.tokens_interval),
                p.hyper.map(|h| number(h.batch_sequences)).unwrap_or_default(),
                p.hyper.map(|h| format!("{:.2e}", h.peak_lr)).unwrap_or_default(),
                p.hyper.map(|h| format!("{:.4}", h.beta2)).unwrap_or_default(),
            ]);
        }
    }
    rows
}

fn other_noise(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["group", "σ", "N* ∝ C^", "95 %", "budgets", "difference"]);
    for fit in &outcome.fits {
        let Some(other) = &fit.other_noise else { continue };
        let model = other.noise.model;
        rows.push(vec![
            name(&fit.group),
            format!("{} to {} over L = {} to {}", number(model.low), number(model.high), model.from, model.to),
            other.exponent.map(exponent).unwrap_or_else(|| "no law".into()),
            other.interval.map(ends).unwrap_or_default(),
            other.n.to_string(),
            other.difference.map(|d| format!("{d:+.4}")).unwrap_or_default(),
        ]);
    }
    rows
}

fn parametric(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["group", "E", "A", "B", "α", "β", "β/(α+β)", "95 %", "points"]);
    for fit in &outcome.fits {
        if let Some(found) = &fit.parametric {
            rows.push(vec![
                name(&fit.group),
                number(found.e.value),
                number(found.a.value),
                number(found.b.value),
                exponent(found.alpha.value),
                exponent(found.beta.value),
                exponent(found.exponent.value),
                ends(found.exponent.interval),
                found.n.to_string(),
            ]);
        } else if let Some(why) = &fit.parametric_why {
            let mut row = vec![name(&fit.group), format!("no fit: {why}")];
            row.resize(9, String::new());
            rows.push(row);
        }
    }
    rows
}

fn arms(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["arm", "published", "95 %", "ours", "95 %", "N* there, published", "ours", "as published"]);
    for arm in &outcome.arms {
        rows.push(vec![
            format!("{} ({})", arm.arm, arm.about),
            format!("{}", arm.published.exponent),
            arm.published.interval.map(|[low, high]| format!("[{low:.3}, {high:.3}]")).unwrap_or_default(),
            exponent(arm.exponent),
            ends(arm.interval),
            arm.published.params.map(size).unwrap_or_default(),
            size(arm.params),
            if arm.as_published { "yes" } else { "NO" }.into(),
        ]);
    }
    rows
}

fn claims(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = header(&["claim", "paper says", "ours", "95 % interval", "expected", "verdict"]);
    for claim in &outcome.claims {
        rows.push(vec![
            claim.id.clone(),
            claim.paper.clone(),
            claim.effect.map(number).unwrap_or_default(),
            claim.interval.map(interval).unwrap_or_default(),
            expected(claim.expect),
            verdict_name(claim.verdict).into(),
        ]);
    }
    rows
}

fn expected(expect: Expect) -> String {
    match expect {
        Expect::Above(x) => format!("> {}", number(x)),
        Expect::Below(x) => format!("< {}", number(x)),
        Expect::Within([low, high]) => format!("{} to {}", number(low), number(high)),
    }
}

fn sentence(claim: &ClaimRow) -> String {
    let why = claim.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{}: {} {}{why}.", claim.id, claim.sentence, claim.place)
}

/// One row a group.
pub fn csv(outcome: &Outcome) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut columns: Vec<&str> = outcome.fits.iter().flat_map(|fit| fit.group.keys().map(String::as_str)).collect();
    columns.sort_unstable();
    columns.dedup();
    let own = [
        "convention",
        "exponent",
        "low",
        "high",
        "coefficient",
        "r2",
        "n",
        "tokens_exponent",
        "tokens_per_param_low",
        "tokens_per_param_high",
        "why",
    ];
    let number = |x: Option<f64>| x.map(|x| format!("{x:?}")).unwrap_or_default();
    let mut push = |row: Vec<String>| writer.write_record(row).expect("memory takes every row");
    push(columns.iter().copied().filter(|c| *c != "counting").chain(own).map(String::from).collect());
    for fit in &outcome.fits {
        let mut row: Vec<String> = columns
            .iter()
            .filter(|c| **c != "counting")
            .map(|column| fit.group.get(*column).cloned().unwrap_or_default())
            .collect();
        row.extend([
            fit.convention.to_string(),
            number(fit.exponent),
            number(fit.interval.map(|x| x[0])),
            number(fit.interval.map(|x| x[1])),
            number(fit.coefficient),
            number(fit.r2),
            fit.n.to_string(),
            number(fit.tokens.map(|law| law.exponent)),
            number(fit.tokens_per_param.map(|x| x[0])),
            number(fit.tokens_per_param.map(|x| x[1])),
            fit.why.clone().unwrap_or_default(),
        ]);
        push(row);
    }
    String::from_utf8(writer.into_inner().expect("memory takes every row")).expect("text in, text out")
}
