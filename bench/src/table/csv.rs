//! Results as CSV: one row a metric of a cell, one row a claim.

use crate::results::{SuiteResult, place, tier_name};
use crate::table::verdict;

const HEADER: [&str; 12] =
    ["suite", "tier", "row", "name", "axes", "metric", "value", "sd", "low", "high", "n", "verdict"];

/// All suites in one table. Numbers are the shortest decimals that read back as the same bits.
pub fn suites(results: &[SuiteResult]) -> String {
    let mut out = ::csv::Writer::from_writer(Vec::new());
    let mut push = |row: [String; 12]| out.write_record(row).expect("memory takes every row");
    push(HEADER.map(String::from));
    let number = |x: Option<f64>| x.map(|x| format!("{x:?}")).unwrap_or_default();
    for result in results {
        let (suite, tier) = (result.name.clone(), tier_name(result.tier).to_string());
        for cell in &result.cells {
            let name = place(&cell.experiment, &cell.arm, &Default::default());
            let axes = cell.axes.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
            for (metric, x) in &cell.metrics {
                push([
                    suite.clone(),
                    tier.clone(),
                    "cell".into(),
                    name.clone(),
                    axes.clone(),
                    metric.clone(),
                    number(x.mean),
                    number(x.sd),
                    String::new(),
                    String::new(),
                    x.n.to_string(),
                    String::new(),
                ]);
            }
        }
        for claim in &result.claims {
            push([
                suite.clone(),
                tier.clone(),
                "claim".into(),
                claim.id.clone(),
                claim.at.clone().unwrap_or_default(),
                claim.paper_claim.clone(),
                number(claim.effect),
                String::new(),
                number(claim.interval.map(|x| x[0])),
                number(claim.interval.map(|x| x[1])),
                claim.n.to_string(),
                verdict(claim),
            ]);
        }
    }
    String::from_utf8(out.into_inner().expect("memory takes every row")).expect("text in, text out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{observed, result};

    #[test]
    fn every_row_has_every_column_and_numbers_round_trip() {
        let result = result(&observed());
        let text = suites(std::slice::from_ref(&result));
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2 * 2 + 3);
        let mean: f64 = rows.iter().find(|r| &r[5] == "val_loss").unwrap()[6].parse().unwrap();
        assert_eq!(Some(mean), result.cells[0].metrics["val_loss"].mean);
    }
}
