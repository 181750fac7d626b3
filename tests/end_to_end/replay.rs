//! Exported runs in PyTorch: every model variant, optimizer, schedule and task of the registry. It needs a Python with
//! torch, numpy and safetensors: the one that `PREHEAT_PYTHON` names, or `python3`.

use crate::support::{Lab, said};
use std::process::Command;

/// One short run an arm, and what differs from the experiment's recipe.
const ARMS: [(&str, &str); 32] = [
    ("plain", "{optimizer: {sgd: {}}}"),
    ("post", "{model: {transformer: {norm: post-ln, activation: gelu-tanh}}, schedule: {linear: {warmup_steps: 3}}}"),
    (
        "theory",
        "{model: {transformer: {attention: full, uniform_attention: true, out_projection: false, positions: none}}}",
    ),
    ("tied", "{model: {transformer: {tied: true, positions: sinusoidal, activation: gelu-erf}}}"),
    (
        "momentum",
        "{optimizer: {sgd: {momentum: 0.9, weight_decay: 0.01}}, schedule: {inverse-sqrt: {peak_lr: 0.05, warmup_steps: 2}}}",
    ),
    ("decay", "{optimizer: {adam: {weight_decay: 0.01}}, schedule: {step: {peak_lr: 3e-3, at: 0.4, then_at: 0.7}}}"),
    ("adamw", "{optimizer: {adamw: {}}, schedule: {cosine: {peak_lr: 3e-3, min_ratio: 0.1, decay_from: 2}}}"),
    (
        "floor",
        "{task: {language-pair: {vocab: 17, seq: 7, shift: 0.5, train_on: downstream, part: 1}}, schedule: {cosine-floor: {peak_lr: 3e-3, horizon: 5, warmup: 0.5, decay: 0.9}}}",
    ),
    (
        "kept-adamw",
        "{optimizer: {adamw: {}}, start: {from: {experiment: first, arm: before-adamw, optimizer_state: kept}}}",
    ),
    (
        "kept-momentum",
        "{optimizer: {sgd: {momentum: 0.9}}, start: {from: {experiment: first, arm: before-momentum, step: 4, optimizer_state: kept}}}",
    ),
    ("clipped", "{train: {clip: 0.5, label_smoothing: 0.1}, schedule: {constant: {peak_lr: 3e-3}}}"),
    ("radam-paper", "{optimizer: {radam: {weight_decay: 0.01}}}"),
    ("radam-code", "{optimizer: {radam: {variant: code}}}"),
    ("radam-package", "{optimizer: {radam: {variant: package}}}"),
    ("radam-window", "{optimizer: {radam: {variant: four-step, unrectified_from: 3, unrectified_steps: 4}}}"),
    ("adam-2k", "{optimizer: {adam-2k: {freeze_steps: 3}}}"),
    ("gi-adam", "{optimizer: {gi-adam: {beta2: 0.9}}}"),
    ("lion", "{optimizer: {lion: {weight_decay: 0.1}}, schedule: {linear: {peak_lr: 3e-4}}}"),
    ("lamb", "{optimizer: {lamb: {}}}"),
    ("novograd", "{optimizer: {novograd: {weight_decay: 0.01}}, train: {clip: 0.5}}"),
    ("adafactor", "{optimizer: {adafactor: {}}}"),
    ("adafactor-absolute", "{optimizer: {adafactor: {relative_step: false, weight_decay: 0.1}}, train: {clip: 0.5}}"),
    ("muon", "{optimizer: {muon: {adam_lr_ratio: 0.3}}}"),
    ("muon-tied", "{model: {transformer: {tied: true}}, optimizer: {muon: {scale: match-rms, nesterov: false}}}"),
    ("muon-clipped", "{optimizer: {muon: {weight_decay: 0.1}}, train: {clip: 0.5}}"),
    ("untuned", "{optimizer: {adam: {beta2: 0.5}}, schedule: {linear: {warmup_steps: untuned}}}"),
    ("swiglu", "{model: {transformer: {activation: swiglu}}}"),
    ("swiglu-256", "{model: {transformer: {norm: post-ln, activation: swiglu-256}}}"),
    (
        "certified",
        "{model: {certified: {layers: 2, width: 9, init: ibp, batch_norm: full, tightness: true, relu_balance: true, eps: 0.1, clean_steps: 1, eps_warmup_steps: 4}}, task: {images: {side: 6, images: 30}}}",
    ),
    (
        "convolved",
        "{model: {certified: {conv_layers: 3, conv_channels: 4, width: 9, batch_norm: conv, eps: 0.05, eps_warmup_steps: 9}}, task: {images: {side: 7, images: 30}}, train: {batch: 12, eval_sequences: 12, label_smoothing: 0.1}}",
    ),
    (
        "crown",
        "{model: {certified: {layers: 2, width: 9, batch_norm: full, bounds: crown-ibp, eps: 0.1, eps_warmup_steps: 5}}, task: {images: {side: 6, images: 30}}, train: {batch: 12, eval_sequences: 12}}",
    ),
    ("dropout", "{model: {transformer: {dropout: 0.1}}}"),
];

/// Optimizers of runs that go on with the state of a run of the same name before.
const KEPT: [(&str, &str); 8] = [
    ("radam", "{radam: {variant: code}}"),
    ("gi-adam", "{gi-adam: {beta2: 0.9}}"),
    ("lion", "{lion: {}}"),
    ("lamb", "{lamb: {}}"),
    ("novograd", "{novograd: {weight_decay: 0.01}}"),
    ("adafactor", "{adafactor: {}}"),
    ("adafactor-absolute", "{adafactor: {relative_step: false}}"),
    ("muon", "{muon: {}}"),
];

fn suite() -> String {
    let head = "\
suite: tiny
title: Everything
paper: {key: nobody2026, authors: Nobody, year: 2026}
experiments:
  - id: all
    about: one run of each thing
    recipe:
      model: {transformer: {layers: 2, width: 12, heads: 3}}
      task: {language: {vocab: 17, seq: 7}}
      optimizer: {adam: {}}
      schedule: {linear: {peak_lr: 3e-3, decay_from: 4}}
      train: {batch: 3, steps: 6, eval_sequences: 6}
    arms:
";
    let arms: String = ARMS.iter().map(|(name, differs)| format!("      {name}: {differs}\n")).collect();
    let kept: String = KEPT
        .iter()
        .map(|(name, optimizer)| {
            let from = format!("{{experiment: first, arm: before-{name}, optimizer_state: kept}}");
            format!("      kept-{name}: {{optimizer: {optimizer}, start: {{from: {from}}}}}\n")
        })
        .collect();
    let before: String =
        KEPT.iter().map(|(name, optimizer)| format!("      before-{name}: {{optimizer: {optimizer}}}\n")).collect();
    let tail = "    seeds: {first: 1, count: 1}\n    tiers: {smoke: {}}\n";
    format!("{head}{arms}{kept}{tail}{FIRST}{before}{tail}")
}

/// What runs that keep an optimizer's state go on from.
const FIRST: &str = "  - id: first
    about: some steps before
    recipe:
      model: {transformer: {layers: 2, width: 12, heads: 3}}
      task: {language: {vocab: 17, seq: 7}}
      optimizer: {adamw: {}}
      schedule: {constant: {peak_lr: 3e-3}}
      train: {batch: 3, steps: 5, eval_sequences: 6}
    arms:
      before-adamw: {}
      before-momentum: {optimizer: {sgd: {momentum: 0.9}}, schedule: {constant: {peak_lr: 0.03}}}
";

/// A Python with what the replay needs.
fn python() -> Option<String> {
    let python = std::env::var("PREHEAT_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", "import numpy, safetensors, torch"]).output();
    found.is_ok_and(|said| said.status.success()).then_some(python)
}

#[test]
fn pytorch_computes_the_same() {
    let Some(python) = python() else { return preheat::skip("pytorch_computes_the_same", "torch") };
    let lab = Lab::with(&suite());
    lab.write("book.txt", &"It was the best of times, it was the worst of times. ".repeat(200));
    let export = |arm: &str, out: &str, words: &[&str]| {
        let own = ["export", arm, "--tier", "smoke", "--suites", "suites", "--store", "store", "--out", out];
        said(lab.command(&[&own, words].concat())).exits(0);
    };
    let replay = |folders: &[&str]| {
        let mut command =
            lab.command_of(python.as_ref(), &[concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/replay.py")]);
        command.args(folders);
        said(command)
    };
    said(lab.command(&["bench", "--tier", "smoke", "--suites", "suites", "--store", "store", "--filter", "kept"]));
    let names: Vec<&str> = ARMS.iter().map(|(name, _)| *name).collect();
    names.iter().for_each(|name| export(name, name, &[]));
    export("plain", "book", &["--task", "text=book.txt"]);
    // The text's bytes, two a token: all below 2^15.
    export("plain", "ids", &["--task", "tokens=book.txt,format=nanogpt,vocab=32768,seq=7"]);
    let (dropout, known) = names.split_last().expect("arms");
    let kept = KEPT.map(|(name, _)| format!("kept-{name}"));
    kept.iter().for_each(|name| export(name, name, &[]));

    let kept = kept.each_ref().map(String::as_str);
    let same = replay(&[known, &kept, &["book", "ids"]].concat());
    same.exits(0);
    assert_eq!(same.stdout.matches("gradients, step 1").count(), known.len() + kept.len() + 2, "{same:#?}");

    // A loss that is a little off is found, and so is what cannot be replayed.
    let expected = lab.read("plain/expected.json");
    let mut wrong: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
    wrong["train_loss"][1] = (wrong["train_loss"][1].as_f64().expect("a loss") * (1.0 + 3e-5)).into();
    lab.write("plain/expected.json", &wrong.to_string());
    let off = replay(&["plain"]);
    assert!(off.exits(1).stdout.lines().any(|line| line.contains("step 2") && line.contains("ABOVE")), "{off:#?}");
    replay(&[dropout, "suites"]).exits(2).says(&["dropout is not replayed"]).says(&["suites: no whole export"]);
}
