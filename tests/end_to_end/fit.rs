//! `preheat fit`: published tables, tables of one's own, and what is wrong with a table.

use crate::support::{Lab, Said, said};
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Published: hparams, warm-up, decay, counting; exponent and its interval (summary files of Porian et al. 2024).
type Published = ([&'static str; 4], f64, [f64; 2]);
const PUBLISHED: [Published; 5] = [
    (["base", "long", "kaplan", "kaplan"], 0.8353, [0.824, 0.846]),
    (["base", "long", "kaplan", "standard"], 0.7065, [0.691, 0.717]),
    (["base", "short", "kaplan", "standard"], 0.6020, [0.591, 0.617]),
    (["base", "short", "chinchilla", "standard"], 0.5715, [0.560, 0.589]),
    (["tuned", "short", "const", "standard"], 0.4969, [0.491, 0.505]),
];
const TOLERANCE: f64 = 0.005;

fn fit(lab: &Lab, words: &[&str]) -> Said {
    said(lab.command(&[&["fit"], words].concat()))
}

/// The published table, where it is beside the workspace.
fn published(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/papers/porian2024_refinedweb.csv");
    if !path.exists() {
        preheat::skip(test, "../shared/papers");
        return None;
    }
    Some(path)
}

/// x^(k/16), by square roots.
fn sixteenths(x: f64, k: u32) -> f64 {
    let root = x.sqrt().sqrt().sqrt().sqrt();
    (0..k).fold(1.0, |product, _| product * root)
}

/// β/(α + β) of [`table`].
const EXPONENT: f64 = 7.0 / 13.0;

/// A table of L = 1.8 + 600/N^(6/16) + 8000/D^(7/16) with a little roughness, six budgets of nine sizes.
fn table(columns: &str, end: &str) -> String {
    let mut text = format!("budget_flops,params,tokens,loss{columns}\n");
    for budget in 0..6_u32 {
        let flops = 1e17 * f64::from(1_u32 << budget);
        for size in 0..9_u32 {
            let steps = (0..size).fold(1.0, |product, _| product * 1.5);
            let params = 2e7 / 5.0625 * steps * (flops / 1e17).sqrt();
            let tokens = flops / (6.0 * params);
            let rough = 0.0002 * f64::from((7 * budget + 5 * size) % 11) - 0.001;
            let loss = 1.8 + 600.0 / sixteenths(params, 6) + 8000.0 / sixteenths(tokens, 7) + rough;
            let _ = writeln!(text, "{flops:e},{params},{tokens},{loss}{end}");
        }
    }
    text
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected} ± {tolerance}");
}

#[test]
fn the_published_exponents_and_intervals_come_back() {
    let Some(path) = published("the_published_exponents_and_intervals_come_back") else { return };
    let path = path.to_str().expect("UTF-8");
    let lab = Lab::new();
    let own = fit(&lab, &[path, "--format", "json"]);
    let given = fit(&lab, &[path, "--noise", "0.002", "--format", "json"]);
    let (own, given) = (own.exits(0).json(), given.exits(0).json());
    assert_eq!(own["procedure"], "authors", "a table of their arms is fitted their way");
    assert_eq!(own["fits"].as_array().map(Vec::len), Some(PUBLISHED.len()));
    for document in [&own, &given] {
        for ([hparams, warmup, decay, counting], exponent, ends) in PUBLISHED {
            let fits = document["fits"].as_array().expect("fits");
            let same = |fit: &&Value| {
                let group = &fit["group"];
                group["hparams"] == hparams
                    && group["warmup"] == warmup
                    && group["decay"] == decay
                    && group["counting"] == counting
            };
            let fit = fits.iter().find(same).unwrap_or_else(|| panic!("{counting} in {document}"));
            near(number(&fit["exponent"]), exponent, TOLERANCE);
            near(number(&fit["interval"][0]), ends[0], TOLERANCE);
            near(number(&fit["interval"][1]), ends[1], TOLERANCE);
            assert_eq!(fit["convention"], counting);
            let other = &fit["other_noise"];
            assert_eq!((&other["noise"]["reading"], &other["noise"]["high"]), (&"intended".into(), &0.05.into()));
            near(number(&other["difference"]), number(&other["exponent"]) - exponent, TOLERANCE);
        }
        let arms = document["arms"].as_array().expect("arms");
        assert!(arms.len() == PUBLISHED.len() && arms.iter().all(|arm| arm["as_published"] == true), "{arms:?}");
    }
}

#[test]
fn claims_are_judged_from_published_points_and_exact_sums() {
    let Some(path) = published("claims_are_judged_from_published_points_and_exact_sums") else { return };
    let lab = Lab::new();
    let document = fit(&lab, &[path.to_str().expect("UTF-8"), "--format", "json"]).exits(0).json();
    let claims = document["claims"].as_array().expect("claims");
    let claim = |id: &str| claims.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("{id} in {claims:?}"));
    for id in ["P1", "P2-large", "P2-small", "P12-fixed", "P12-cosine"] {
        assert_eq!(claim(id)["verdict"], "reproduced", "{}", claim(id));
    }
    near(number(&claim("P2-small")["effect"]), 0.936, 0.001);
    near(number(&claim("P2-large")["effect"]), 0.084, 0.001);
    near(number(&claim("P12-fixed")["effect"]), 1.536e20, 0.001e20);
    near(number(&claim("P2")["effect"]), 0.835 - 0.706, 2.0 * TOLERANCE);
    for id in ["P7-long", "P7-warmup", "P7-cosine", "P7-tuned"] {
        assert!(claim(id)["why"].as_str().is_some_and(|why| why.contains("counted anew")), "{}", claim(id));
    }
    for claim in claims {
        assert!(["reproduced", "refuted", "inconclusive"].contains(&claim["verdict"].as_str().expect("text")));
    }
}

#[test]
fn a_table_of_ones_own_is_fitted_by_the_default() {
    let lab = Lab::new();
    lab.write("t.csv", &table(",arm", ",a"));
    let words = [
        "t.csv",
        "--bootstraps",
        "500",
        "--counting",
        "standard",
        "--predict",
        "1e19,1e20,1e21",
        "--parametric",
        "--format",
        "json",
    ];
    let first = fit(&lab, &words);
    let document = first.exits(0).json();
    assert_eq!((&document["procedure"], &document["claims"]), (&"local".into(), &Value::Array(vec![])));
    let found = &document["fits"][0];
    for key in ["group", "convention", "exponent", "coefficient", "r2", "interval", "n", "tokens_per_param"] {
        assert!(!found[key].is_null(), "{key} in {found}");
    }
    assert_eq!(
        (&found["group"]["arm"], &found["convention"], &found["n"]),
        (&"a".into(), &"standard".into(), &6.into())
    );
    near(number(&found["exponent"]), EXPONENT, 0.02);
    assert!(number(&found["interval"][0]) < EXPONENT && EXPONENT < number(&found["interval"][1]), "{found}");
    near(number(&found["parametric"]["exponent"]["value"]), EXPONENT, 0.02);
    let at = |i: usize| number(&found["predictions"][i]["params"]);
    near(at(1) * at(1) / (at(0) * at(2)), 1.0, 1e-9);
    let rate = |i: usize| number(&found["predictions"][i]["hyper"]["peak_lr"]);
    assert!(rate(0) > rate(1) && rate(1) > rate(2), "larger models take smaller rates");
    assert_eq!(fit(&lab, &words).stdout, first.stdout, "a fit is a function of its words");
    let other = fit(&lab, &[&words[..], &["--seed", "2"]].concat()).json();
    assert_eq!(other["fits"][0]["exponent"], found["exponent"], "the default's exponent is the data's own");
    assert_ne!(other["fits"][0]["interval"], found["interval"]);
}

#[test]
fn every_format_tells_the_law() {
    let lab = Lab::new();
    lab.write("t.csv", &table(",counting", ",kaplan"));
    let table = fit(&lab, &["t.csv", "--bootstraps", "200"]);
    assert!(table.exits(0).stdout.contains("N* ∝ C^") && table.stdout.contains("kaplan"), "{table:#?}");
    let markdown = fit(&lab, &["t.csv", "--bootstraps", "200", "--format", "markdown"]);
    assert!(markdown.exits(0).stdout.contains("| kaplan"), "{markdown:#?}");
    let csv = fit(&lab, &["t.csv", "--bootstraps", "200", "--format", "csv"]);
    let lines: Vec<&str> = csv.exits(0).stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("convention,exponent,low,high,"), "{lines:?}");
    assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
}

#[test]
fn the_drawing_holds_each_curve_and_the_law() {
    let lab = Lab::new();
    lab.write("t.csv", &table(",counting", ",kaplan"));
    let done = fit(&lab, &["t.csv", "--bootstraps", "200", "--svg", "t.svg"]);
    done.exits(0).says(&["wrote t.svg"]);
    let svg = lab.read("t.svg");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", &svg[..200]);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "every coordinate is a number");
    for word in ["1.00e17", "3.20e18", "optimum", "exponent 0.", "compute, FLOPs", "white"] {
        assert!(svg.contains(word), "{word}");
    }
    fit(&lab, &["t.csv", "--bootstraps", "200", "--svg", "no/t.svg"]).exits(5).says(&["no/t.svg"]);
}

#[test]
fn a_golden_result_is_a_table() {
    let lab = Lab::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/exact/scaling.quick.json");
    let words = [golden.to_str().expect("text"), "--bootstraps", "200", "--counting", "standard", "--format", "json"];
    let document = fit(&lab, &words).exits(0).json();
    let fits = document["fits"].as_array().expect("fits");
    let of = |experiment: &str| {
        let found = fits.iter().find(|fit| fit["group"]["experiment"] == experiment);
        number(&found.expect("a fit of each experiment")["exponent"])
    };
    // P3, whose exponents `scaling` has at four budgets: the long warm-up makes the law steeper.
    assert!(of("long") > of("short") && fits.iter().all(|fit| fit["convention"] == "standard"), "{document}");
}

#[test]
fn what_a_golden_result_leaves_out_is_a_line_a_group_that_keeps_some() {
    let lab = Lab::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/exact/scaling.quick.json");
    let words = [golden.to_str().expect("text"), "--bootstraps", "200", "--format", "json"];
    let (brief, full) = (fit(&lab, &words), fit(&lab, &[&words[..], &["--verbose"]].concat()));
    let (document, lines) = (brief.exits(0).json(), |said: &Said| said.stderr.lines().count());
    assert_eq!(document, full.exits(0).json(), "JSON has all of it in any case");
    let fits = document["fits"].as_array().expect("fits");
    let budgets = |fit: &Value| fit["budgets"].as_array().expect("budgets").clone();
    let left = |fit: &Value| budgets(fit).iter().filter(|budget| budget["left_out"].is_string()).count();
    let out: usize = fits.iter().map(left).sum();
    let some = fits.iter().filter(|fit| left(fit) > 0 && left(fit) < budgets(fit).len()).count();
    let none = fits.iter().filter(|fit| left(fit) == budgets(fit).len()).count();
    // The count without the head has no law where the standard one has: a line for each such group.
    let recounted = |fit: &&Value| fit["exponent"].is_null() && fit["recounted"].is_number();
    let headless = fits.iter().filter(recounted).collect::<Vec<_>>();
    assert!(!headless.is_empty() && headless.iter().all(|fit| fit["convention"] == "kaplan"), "{document}");
    assert_eq!(lines(&full), out + headless.len());
    // Groups that keep no budget share a line, and one says how to see all.
    assert_eq!(lines(&brief), some + 1 + headless.len() + 1, "{}", brief.stderr);
    brief
        .says(&[&format!("{none} groups that keep no budget: ")])
        .says(&["kaplan long", "no law of its own: the head is"])
        .says(&["--verbose names each budget"]);
}

#[test]
fn a_sweep_gives_the_laws_of_rate_and_batch() {
    let lab = Lab::new();
    let mut text = String::from("params,batch,peak_lr,loss\n");
    let factors = [0.25, 0.5, 1.0, 2.0, 4.0].into_iter().zip([-2.0, -1.0, 0.0, 1.0, 2.0]);
    for root in [1e3, 2e3, 4e3, 8e3] {
        // Of N = root² parameters the best rate is 1/√N, the best batch √N/125.
        for ((batch, b), (rate, r)) in factors.clone().flat_map(|b| factors.clone().map(move |r| (b, r))) {
            let loss = 3.0 + 0.1 * b * b + 0.2 * r * r;
            let _ = writeln!(text, "{},{},{},{loss}", root * root, batch * root / 125.0, rate / root);
        }
    }
    lab.write("sweep.csv", &text);
    let document = fit(&lab, &["sweep.csv", "--format", "json"]).exits(0).json();
    let laws = document["laws"].as_array().expect("laws");
    let exponent = |what: &str| number(&laws.iter().find(|law| law["what"] == what).expect("a law")["exponent"]);
    near(exponent("peak_lr"), -0.5, 1e-6);
    near(exponent("batch"), 0.5, 1e-6);
    for words in [&["--svg", "x.svg"][..], &["--predict", "1e20"], &["--parametric"], &["--counting", "kaplan"]] {
        let done = fit(&lab, &[&["sweep.csv"], words].concat());
        done.exits(2).says(&[words[0], "sweep.csv is a sweep"]);
        assert!(done.stdout.is_empty() && !lab.path("x.svg").exists());
    }
    lab.write("sweep.csv", "params,batch,peak_lr,loss\n1e6,8,1e-3,3\n");
    fit(&lab, &["sweep.csv"]).exits(2).says(&["sweep.csv: one rate, one batch and one beta2 were tried"]);
}

#[test]
fn a_wrong_table_is_one_line_and_2() {
    let lab = Lab::new();
    let check = |text: &str, words: &[&str], expected: &str| {
        lab.write("t.csv", text);
        let done = fit(&lab, &[&["t.csv", "--bootstraps", "50", "--format", "json"], words].concat());
        done.exits(2);
        assert_eq!(done.stdout, "");
        assert_eq!(done.stderr.lines().last(), Some(format!("preheat: {expected}").as_str()), "{done:#?}");
    };
    let good = table(",counting", ",kaplan");
    check(
        &good.replace("loss,", "val,"),
        &[],
        "t.csv:1: no column loss; needed: budget_flops, params, tokens, loss; found: budget_flops, params, tokens, val, counting",
    );
    check(
        &table("", ""),
        &[],
        "t.csv:1: no column counting, and no --counting; a fit must say how FLOPs are counted: \
         standard, kaplan, attention, chinchilla-exact",
    );
    check(
        &format!("{good}1e17,2e7,8e8,-3.5,kaplan\n"),
        &[],
        "t.csv:56:4: loss is -3.5; it must be positive and finite",
    );
    let one_size: String = good.lines().step_by(9).map(|line| format!("{line}\n")).collect();
    check(
        &format!(
            "budget_flops,params,tokens,loss,counting\n{}",
            one_size.lines().skip(1).collect::<Vec<_>>().join("\n")
        ),
        &[],
        "t.csv: no group has a law: 0 of 6 budgets have a minimum inside; at least 3 are needed",
    );
    let none = fit(&lab, &["none.csv"]);
    none.exits(2).says(&["none.csv", "No such file"]);
    fit(&lab, &["suites"]).exits(2).says(&["suites", "is a directory"]);
    fit(&lab, &["t.csv", "--noise=-1"]).exits(2).says(&["LOW:HIGH"]);
    fit(&lab, &["t.csv", "--counting", "exact"]).exits(2).says(&["chinchilla-exact"]);
}

#[test]
fn rows_and_budgets_that_are_left_out_are_named() {
    let lab = Lab::new();
    let good = table(",counting", ",kaplan");
    // A diverged row, a repeated one, and a budget whose best size is its smallest.
    let mut text = format!("{good}1e17,2e7,833333333,NaN,kaplan\n");
    text.push_str(good.lines().nth(3).expect("a row"));
    text.push_str("\n1e19,1e9,1666666666,3.0,kaplan\n1e19,2e9,833333333,3.1,kaplan\n1e19,3e9,555555555,3.3,kaplan\n");
    text.push_str("1e19,4e9,416666666,3.5,kaplan\n");
    lab.write("t.csv", &text);
    let done = fit(&lab, &["t.csv", "--bootstraps", "200", "--format", "json"]);
    done.exits(0).says(&["t.csv:56", "the loss is NaN"]).says(&["t.csv:57", "repeats", "line 4"]);
    done.says(&["budget 1e19", "the minimum is at the lower edge of the sizes", "left out"]);
    let document = done.json();
    assert_eq!(document["warnings"].as_array().map(Vec::len), Some(3), "{document}");
    let budgets = document["fits"][0]["budgets"].as_array().expect("budgets");
    assert!(budgets.len() == 7 && budgets[6]["params"].is_null() && budgets[6]["left_out"].is_string());
    assert_eq!(document["fits"][0]["n"], 6);
}

#[test]
fn a_drawing_does_not_replace_the_table() {
    let lab = Lab::new();
    let text = table(",counting", ",standard");
    lab.write("table.csv", &text);
    let svg = lab.path("table.csv");
    fit(&lab, &["table.csv", "--bootstraps", "50", "--svg", &svg.to_string_lossy()])
        .exits(2)
        .says(&["--svg", "is the table itself"]);
    assert_eq!(lab.read("table.csv"), text);
}
