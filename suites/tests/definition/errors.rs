//! Mistakes in one place of a definition.

use crate::support::{SUITE, check, registry, suite, with};
use preheat_suites::claims::Tier;
use preheat_suites::definition::{Registry, parse, parse_recipe};
use preheat_suites::registry::Scalar;

#[test]
fn the_small_suite_holds() {
    let suite = suite(SUITE);
    let experiment = suite.experiment("training").unwrap();
    let quick = &experiment.setups[&Tier::Quick];
    let names: Vec<&str> = quick.arms.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["plain", "warm"]);
    let rates: Vec<&Scalar> = quick.arms[1].points.iter().map(|p| &p.axes["schedule.peak_lr"]).collect();
    assert_eq!(rates, [&Scalar::Real(1e-3), &Scalar::Real(1.0), &Scalar::Real(3e-3)]);
    let recipe = &quick.arms[1].points[1].recipe;
    assert_eq!(recipe.schedule.to_string(), "linear(peak_lr=1.0,warmup_steps=10)");
    assert_eq!(recipe.model.to_string(), "transformer(heads=4,layers=2,norm=pre-ln,tied=false,width=32)");
    let smoke = &experiment.setups[&Tier::Smoke];
    assert_eq!((smoke.arms.len(), smoke.arms[0].points.len()), (1, 1));
    assert_eq!(smoke.arms[0].points[0].recipe.train.int("steps"), 4);
}

#[test]
fn unknown_key() {
    check(
        with("    about: two arms", "    abuot: two arms"),
        "suites/small.yaml:6:5: experiments[0].abuot: is no key here; allowed: about, id, recipe, arms, grid, seeds, selection_seeds, take, start, show, draw, tiers",
    );
    check(
        with("{width: 32, heads: 4}", "{width: 32, haeds: 4}"),
        "suites/small.yaml:8:40: experiments[0].recipe.model.transformer.haeds: unknown parameter `haeds` of model `transformer`; allowed: heads, layers, width, norm, tied",
    );
    check(
        with("      train: {batch: 8", "      trian: {batch: 8"),
        "suites/small.yaml:12:7: experiments[0].recipe.trian: is no key here; allowed: train, model, task, optimizer, schedule",
    );
}

#[test]
fn wrong_type() {
    check(
        with("width: 32", "width: wide"),
        "suites/small.yaml:8:36: experiments[0].recipe.model.transformer.width: is `wide`; allowed: a whole number from 1 to 1024",
    );
    check(
        with("width: 32", "width: 32.5"),
        "suites/small.yaml:8:36: experiments[0].recipe.model.transformer.width: is 32.5; allowed: a whole number from 1 to 1024",
    );
    check(
        with("width: 32", "width: [32]"),
        "suites/small.yaml:8:36: experiments[0].recipe.model.transformer.width: is a list; allowed: a number, text, true or false",
    );
    check(
        with("width: 32", "width:"),
        "suites/small.yaml:8:34: experiments[0].recipe.model.transformer.width: is empty; allowed: a number, text, true or false",
    );
    check(with("title: A small suite", "title: 5"), "suites/small.yaml:2:8: title: is 5; allowed: text");
    check(
        with("seeds: {first: 1, count: 2}\n    sel", "seeds: {first: -1, count: 2}\n    sel"),
        "suites/small.yaml:17:20: experiments[0].seeds.first: is -1; allowed: a whole number of at least 0",
    );
    check(
        with("experiments:\n", "experiments: none\nother:\n"),
        "suites/small.yaml:4:14: experiments: is the text `none`; allowed: a list",
    );
    check(
        with("optimizer: {adam: {}}", "optimizer: adam"),
        "suites/small.yaml:10:18: experiments[0].recipe.optimizer: is the text `adam`; allowed: a map of name: {parameters}",
    );
    check(
        with("optimizer: {adam: {}}", "optimizer: {}"),
        "suites/small.yaml:10:18: experiments[0].recipe.optimizer: names no optimizer; allowed: one name: {parameters}",
    );
    check(
        with("optimizer: {adam: {}}", "optimizer: {adam: {}, sgd: {}}"),
        "suites/small.yaml:10:18: experiments[0].recipe.optimizer: names more than one optimizer; allowed: one name: {parameters}",
    );
    check(
        with("at: each-best", "at: best"),
        "suites/small.yaml:34:13: claims[0].kind.difference.at: `best` is unknown; allowed: each-best, seconds-best, firsts-best, given",
    );
    check(
        with("expect: {below: 0.0}", "expect: {within: [0.1]}"),
        "suites/small.yaml:35:22: claims[0].expect.within: is a list of 1; allowed: a list of 2",
    );
    check(
        with("expect: {below: 0.0}", "expect: {below: 0.1, above: 0.0}"),
        "suites/small.yaml:35:13: claims[0].expect: is a map of 2; allowed: one of above, below, within",
    );
}

#[test]
fn missing_key() {
    check(with("    about: two arms\n", ""), "suites/small.yaml:5:5: experiments[0]: key `about` is missing");
    check(
        with("width: 32, ", ""),
        "suites/small.yaml:8:15: experiments[0].recipe.model.transformer: parameter `width` of model `transformer` is missing (arm plain of tier smoke); allowed: a whole number from 1 to 1024",
    );
    check(
        with("      task: {language: {}}\n", ""),
        "suites/small.yaml:8:7: experiments[0].recipe: section `task` is missing (arm plain of tier smoke); allowed: model, task, optimizer, schedule, train, all five",
    );
    check(
        with("metric: val_loss\n        ", ""),
        "suites/small.yaml:31:9: claims[0].kind.difference: key `metric` is missing",
    );
}

#[test]
fn given_twice() {
    check(
        with("title: A small suite", "title: A\ntitle: B"),
        "suites/small.yaml:3:1: title: is given twice; allowed: each key once",
    );
    check(
        with("width: 32", "width: 32, width: 32"),
        "suites/small.yaml:8:40: experiments[0].recipe.model.transformer.width: is given twice; allowed: each key once",
    );
    check(
        with("      warm: {sch", "      plain: {sch"),
        "suites/small.yaml:15:7: experiments[0].arms.plain: is given twice; allowed: each key once",
    );
    check(
        with("paper_claim: Z1", "paper_claim: Z1\n    id: other"),
        "suites/small.yaml:25:5: claims[0].id: is given twice; allowed: each key once",
    );
}

#[test]
fn unique_ids() {
    let (experiment, claim) = (SUITE.find("  - id: training").unwrap(), SUITE.find("claims:").unwrap());
    let twice = format!("{}{}{}", &SUITE[..claim], &SUITE[experiment..claim], &SUITE[claim..]);
    check(
        twice,
        "suites/small.yaml:22:9: experiments[1].id: `training` is the id of line 5 too; allowed: each id once",
    );
    let claim = SUITE.find("  - id: warm-is-better").unwrap();
    check(
        format!("{SUITE}{}", &SUITE[claim..]),
        "suites/small.yaml:36:9: claims[1].id: `warm-is-better` is the id of claims[0] too; allowed: each id once",
    );
    check(
        with("suite: small", "suite: large"),
        "suites/small.yaml:1:8: suite: is `large`, not the file's name; allowed: small",
    );
    check(
        with("id: training", "id: a/b"),
        "suites/small.yaml:5:9: experiments[0].id: is `a/b`; allowed: ASCII letters, digits, `-`, `_` and `.`",
    );
    check(
        with("arms: [plain]", "arms: [plain, plain]"),
        "suites/small.yaml:20:48: experiments[0].tiers.smoke.arms[1]: `plain` is the id of line 20 too; allowed: each id once",
    );
}

#[test]
fn grids() {
    check(
        with("[1e-3, 1, 3e-3]", "[]"),
        "suites/small.yaml:16:30: experiments[0].grid.schedule.peak_lr: is an empty grid; allowed: at least one value",
    );
    check(
        with("[1e-3, 1, 3e-3]", "[1e-3, 1, 1.0]"),
        "suites/small.yaml:16:40: experiments[0].grid.schedule.peak_lr[2]: 1.0 is given twice; allowed: each value once",
    );
    check(
        with("[1e-3, 1, 3e-3]", "[1e-3, 1, 300]"),
        "suites/small.yaml:16:40: experiments[0].grid.schedule.peak_lr[2]: is 300 (arm plain of tier quick); allowed: a number from 0.0 to 10.0",
    );
    check(
        with("    grid: {schedule.peak_lr", "    grid: {schedule.peak"),
        "suites/small.yaml:16:12: experiments[0].grid.schedule.peak: unknown parameter `peak` of schedule `linear` (arm plain of tier smoke); allowed: peak_lr, warmup_steps",
    );
    check(
        with("    grid: {schedule.peak_lr", "    grid: {peak_lr"),
        "suites/small.yaml:16:12: experiments[0].grid.peak_lr: is no dotted path `section.parameter` (arm plain of tier smoke); allowed: model, task, optimizer, schedule, train",
    );
    let long: Vec<String> = (0..12_501).map(|i| (f64::from(i) / 1e4).to_string()).collect();
    check(
        with("[1e-3, 1, 3e-3]", &format!("[{}]", long.join(", "))),
        "suites/small.yaml:5:9: experiments[0].id: has 100008 cells (arms × grid × seeds) in tier quick; allowed: at most 100000",
    );
}

#[test]
fn out_of_range() {
    check(
        with("peak_lr: 3e-3}", "peak_lr: .nan}"),
        "suites/small.yaml:11:36: experiments[0].recipe.schedule.linear.peak_lr: is NaN, must be finite; allowed: a finite number",
    );
    check(
        with("peak_lr: 3e-3}", "peak_lr: -.inf}"),
        "suites/small.yaml:11:36: experiments[0].recipe.schedule.linear.peak_lr: is -inf, must be finite; allowed: a finite number",
    );
    check(
        with("peak_lr: 3e-3}", "peak_lr: -3e-3}"),
        "suites/small.yaml:11:36: experiments[0].recipe.schedule.linear.peak_lr: is -0.003; allowed: a number from 0.0 to 10.0",
    );
    check(
        with("[1e-3, 1, 3e-3]", "[1e-3, .nan]"),
        "suites/small.yaml:16:37: experiments[0].grid.schedule.peak_lr[1]: is NaN, must be finite; allowed: a finite number",
    );
    check(
        with("expect: {below: 0.0}", "expect: {below: .nan}"),
        "suites/small.yaml:35:21: claims[0].expect.below: is NaN, must be finite; allowed: a finite number",
    );
    check(
        with("heads: 4", "heads: 0"),
        "suites/small.yaml:8:47: experiments[0].recipe.model.transformer.heads: is 0; allowed: a whole number from 1 to 1024",
    );
    check(
        with("heads: 4", "heads: 99999999999999999999"),
        "suites/small.yaml:8:47: experiments[0].recipe.model.transformer.heads: is 1e20; allowed: a whole number from 1 to 1024",
    );
    check(
        with("heads: 4", "heads: 4, norm: post"),
        "suites/small.yaml:8:56: experiments[0].recipe.model.transformer.norm: is `post`; allowed: post-ln, pre-ln",
    );
    check(
        with("heads: 4", "heads: 4, tied: yes"),
        "suites/small.yaml:8:56: experiments[0].recipe.model.transformer.tied: is `yes`; allowed: true, false",
    );
}

#[test]
fn unknown_name_lists_the_nearest_first() {
    check(
        with("optimizer: {adam: {}}", "optimizer: {adma: {}}"),
        "suites/small.yaml:10:19: experiments[0].recipe.optimizer.adma: unknown optimizer `adma`; allowed: adam, sgd, radam",
    );
    check(
        with("optimizer: {adam: {}}", "optimizer: {adam: {beta1: 0.9}}"),
        "suites/small.yaml:10:26: experiments[0].recipe.optimizer.adam.beta1: unknown parameter `beta1` of optimizer `adam`; allowed: beta2",
    );
    check(
        with("model: {transformer:", "model: {transfomer:"),
        "suites/small.yaml:8:15: experiments[0].recipe.model.transfomer: unknown model `transfomer`; allowed: transformer, mlp",
    );
    check(
        with("arms: [plain]", "arms: [plian]"),
        "suites/small.yaml:20:41: experiments[0].tiers.smoke.arms[0]: unknown arm `plian`; allowed: plain, warm",
    );
    check(
        with("      quick: {}", "      quik: {}"),
        "suites/small.yaml:21:7: experiments[0].tiers.quik: `quik` is unknown; allowed: quick, smoke, full, paper",
    );
}

#[test]
fn what_the_entry_itself_rejects() {
    check(
        with("width: 32", "width: 30"),
        "suites/small.yaml:8:36: experiments[0].recipe.model.transformer.width: 30 is not divisible by heads 4 (arm plain of tier smoke); allowed: multiples of 4",
    );
    check(
        with("      plain: {}", "      plain: {model: {transformer: {heads: 5}}}"),
        "suites/small.yaml:8:36: experiments[0].recipe.model.transformer.width: 32 is not divisible by heads 5 (arm plain of tier smoke); allowed: multiples of 5",
    );
    check(
        with("seeds: {first: 101", "x: {first: 101"),
        "suites/small.yaml:18:5: experiments[0].selection_x: is no key here; allowed: selection_seeds, id, about, recipe, arms, grid, seeds, take, start, show, draw, tiers",
    );
}

#[test]
fn parameters_that_do_not_fit_each_other() {
    check(
        with("warmup_steps: 10", "warmup_steps: 100"),
        "suites/small.yaml:15:48: experiments[0].arms.warm.schedule.linear.warmup_steps: warm-up of 100 steps is not below the run's 100 steps (arm warm of tier quick); allowed: 0 to 99",
    );
    check(
        with("arms: [plain], ", ""),
        "suites/small.yaml:15:48: experiments[0].arms.warm.schedule.linear.warmup_steps: warm-up of 10 steps is not below the run's 4 steps (arm warm of tier smoke); allowed: 0 to 3",
    );
    check(
        with("eval_sequences: 16", "eval_sequences: 12"),
        "suites/small.yaml:12:53: experiments[0].recipe.train.eval_sequences: 12 is no multiple of batch 8 (arm plain of tier smoke); allowed: multiples of 8",
    );
}

#[test]
fn seeds() {
    check(
        with("seeds: {first: 1, count: 2}\n    sel", "seeds: {first: 1, count: 0}\n    sel"),
        "suites/small.yaml:17:12: experiments[0].seeds.count: is 0; allowed: 1 to 1000",
    );
    check(
        with("seeds: {first: 1, count: 2}\n    sel", "seeds: {first: 100, count: 2}\n    sel"),
        "suites/small.yaml:18:22: experiments[0].selection_seeds: selection seeds 101..=102 meet the claims' seeds 100..=101; allowed: seeds that no claim uses",
    );
    check(
        with("first: 101, count: 2", "first: 101, count: 9223372036854775807"),
        "suites/small.yaml:18:22: experiments[0].selection_seeds.count: is 9223372036854775807; allowed: 1 to 1000",
    );
}

#[test]
fn nothing_to_run() {
    check(
        with("      smoke: {train", "      x: {train"),
        "suites/small.yaml:20:7: experiments[0].tiers.x: `x` is unknown; allowed: full, smoke, quick, paper",
    );
    let arms = "      plain: {}\n      warm: {schedule: {linear: {warmup_steps: 10}}}\n";
    check(
        with(&format!("    arms:\n{arms}"), "    arms: {}\n"),
        "suites/small.yaml:13:11: experiments[0].arms: is empty; allowed: at least one arm",
    );
    check(
        with("      quick: {}", "      quick: {arms: [plain]}"),
        "suites/small.yaml:15:7: experiments[0].arms.warm: is kept by no tier; allowed: arms that some tier runs",
    );
    check(
        with("arms: [plain]", "arms: []"),
        "suites/small.yaml:20:40: experiments[0].tiers.smoke.arms: is empty; allowed: plain, warm",
    );
}

#[test]
fn claims_that_say_nothing() {
    for (range, message) in
        [("[1, -1]", "no effect lies between 1 and -1"), ("[1, 1]", "no effect lies between 1 and 1")]
    {
        check(
            with("expect: {below: 0.0}", &format!("expect: {{within: {range}}}")),
            &format!(
                "suites/small.yaml:35:22: claims[0].expect.within: {message}; allowed: [low, high] with low below high"
            ),
        );
    }
    suite(&with("expect: {below: 0.0}", "expect: {within: [-1, 1]}"));
    let minus = "minus: {experiment: training, arm: plain, axes: {schedule.peak_lr: 1}}";
    check(
        with(minus, "minus: {experiment: training, arm: warm}"),
        "suites/small.yaml:33:16: claims[0].kind.difference.minus: is the side `of` again; allowed: other runs",
    );
    suite(&with(minus, "minus: {experiment: training, arm: warm, axes: {schedule.peak_lr: 1}}"));
}

#[test]
fn ids_of_claims() {
    for (id, shown) in [("\"\"", "``"), ("\"a b\"", "`a b`"), ("a|b", "`a|b`")] {
        check(
            with("id: warm-is-better", &format!("id: {id}")),
            &format!(
                "suites/small.yaml:23:9: claims[0].id: is {shown}; allowed: ASCII letters, digits, `-`, `_` and `.`"
            ),
        );
    }
}

#[test]
fn bytes_that_are_no_definition() {
    check(
        "",
        "suites/small.yaml:1:1: is empty; allowed: a map of suite, title, paper, prose, experiments, claims, rankings, fits",
    );
    check(
        "# only a comment\n",
        "suites/small.yaml:2:1: is empty; allowed: a map of suite, title, paper, prose, experiments, claims, rankings, fits",
    );
    check(
        "5",
        "suites/small.yaml:1:1: is 5; allowed: a map of suite, title, paper, prose, experiments, claims, rankings, fits",
    );
    check(b"suite: small\ntitle: \"caf\xe9\"\n", "suites/small.yaml:2:12: is not UTF-8; allowed: UTF-8 text");
    check("suite: [small\n", "suites/small.yaml:1:8: is not readable YAML: unclosed bracket '['");
    check(
        "suite: a\n---\nsuite: b\n",
        "suites/small.yaml:2:1: is not readable YAML: more than one document; allowed: one document",
    );
    check(
        "suite: !!python/object x\n",
        "suites/small.yaml:1:24: is not readable YAML: unsupported tag `!!python/object`",
    );
    check(
        with("title: A small suite", "title: \"a\\nb\"\nx: 1"),
        "suites/small.yaml:3:1: x: is no key here; allowed: fits, suite, title, paper, prose, experiments, claims, rankings",
    );
    check(
        with("title: A small suite", "\"ti\\ntle\": 1"),
        "suites/small.yaml:2:1: ti tle: is no key here; allowed: title, suite, paper, prose, experiments, claims, rankings, fits",
    );
}

#[test]
fn a_bomb_of_aliases() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let items = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{items}]\n");
    }
    check(
        bomb,
        "suites/small.yaml:5:20: is not readable YAML: it and its aliases hold too much; allowed: at most 50000 values",
    );
}

#[test]
fn nesting_of_10000() {
    check(
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        "suites/small.yaml:1:33: is not readable YAML: nested deeper than 32; allowed: at most 32 levels",
    );
    check(
        "- ".repeat(10_000),
        "suites/small.yaml:1:65: is not readable YAML: nested deeper than 32; allowed: at most 32 levels",
    );
    let block: String = (0..10_000).map(|i| format!("{}a:\n", " ".repeat(i.min(2_000)))).collect();
    check(block, "suites/small.yaml:33:33: is not readable YAML: nested deeper than 32; allowed: at most 32 levels");
}

proptest::proptest! {
    /// Whatever is typed into a definition, the answer is a suite or one line with a place.
    #[test]
    fn any_edit_is_accepted_or_answered_with_one_line(
        edits in proptest::collection::vec((0..SUITE.len(), 0..3_usize, "[-a-z0-9:{},.&*!|>\\[\\]#'\"% \n]{0,6}"), 1..4),
    ) {
        let mut yaml = SUITE.as_bytes().to_vec();
        for (at, cut, text) in edits {
            let at = at.min(yaml.len());
            let end = (at + 3 * cut).min(yaml.len());
            yaml.splice(at..end, text.bytes());
        }
        if let Err(e) = parse("suites/small.yaml", &yaml, &registry()) {
            proptest::prop_assert!(e.place.line > 0 && e.place.column > 0, "no place: {e}");
            proptest::prop_assert!(!e.message.is_empty() && !e.to_string().contains('\n'), "{e}");
        }
    }
}

#[test]
fn models_and_tasks_fit_each_other() {
    let fault = |model: &str, task: &str, probe: &str| {
        let text = format!(
            "{{model: {{{model}}}, task: {{{task}}}, optimizer: {{adam: {{}}}}, schedule: {{constant: {{peak_lr: 1e-3}}}}, train: {{steps: 1, batch: 1, eval_sequences: 1, probe: {probe}}}}}"
        );
        parse_recipe("r", &text, &Registry::builtin()).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let (certified, transformer) = ("certified: {eps: 0.1}", "transformer: {layers: 1, width: 8}");
    for (model, task, probe, expected) in [
        (certified, "images: {}", "none", ""),
        (
            certified,
            "language: {}",
            "none",
            "task.language: asks for a token at each position, which model `certified` does not answer; allowed: tasks that ask for one label a sequence",
        ),
        (
            transformer,
            "images: {}",
            "none",
            "task.images: asks for one label a sequence, which model `transformer` does not answer; allowed: tasks that ask for a token at each position",
        ),
        ("adaptive-rate: {}", "images: {}", "none", ""),
        (
            certified,
            "images: {}",
            "signal",
            "train.probe: looks at layers that model `certified` does not have; allowed: none, gradients, isoflop",
        ),
        (
            certified,
            "images: {side: 256, images: 1000000}",
            "none",
            "task.images.images: 1000000 images of 256×256 pixels are too many to hold; allowed: at most 4096",
        ),
    ] {
        let said = fault(model, task, probe);
        assert!(if expected.is_empty() { said.is_empty() } else { said.ends_with(expected) }, "{said}");
    }
}
