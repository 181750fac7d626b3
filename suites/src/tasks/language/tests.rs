//! The source against enumeration, counting and its own ablations.

use super::filter::{Filter, document_nats};
use super::source::copied;
use super::*;
use crate::registry::Scalar;

pub(super) struct NoFiles;
impl Corpus for NoFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
        Err(Invalid::new("path", path))
    }
}

fn params(given: &[(&str, f64)]) -> Params {
    params_of(PARAMS, given)
}

/// Numbers as given, all else as preset.
pub(super) fn params_of(defs: &[ParamDef], given: &[(&str, f64)]) -> Params {
    let mut out = Params::default();
    for def in defs {
        let given = given.iter().find(|(key, _)| *key == def.name).map(|(_, x)| *x);
        let value = match (def.default, given) {
            (Preset::Int(x), None) => Scalar::Int(x),
            (Preset::Real(x), None) => Scalar::Real(x),
            (Preset::Text(x), None) => Scalar::Text(x.into()),
            (Preset::Int(_), Some(x)) => Scalar::Int(x as i64),
            (_, Some(x)) => Scalar::Real(x),
            other => panic!("{} {other:?}", def.name),
        };
        out.0.insert(def.name.into(), value);
    }
    out
}

pub(super) fn open(given: &[(&str, f64)], sequences: usize) -> Box<dyn Task> {
    build(&params(given)).expect("valid").open(&NoFiles, sequences).expect("opens")
}

fn default_shape() -> Shape {
    Shape {
        vocab: 128,
        topics: 4,
        successors: 4,
        weights: ["unigram", "bigram", "trigram", "copy"].map(|key| params(&[]).real(key)),
        zipf_shift: 2.7,
        tail_exponent: 1.0,
        topic_boost: params(&[]).real("topic_boost"),
        topic_cut: params(&[]).real("topic_cut"),
        table_seed: 0,
        shift: 0.0,
        shift_seed: 1,
    }
}

fn documents(source: &Source, seq: usize, n: usize) -> Vec<Vec<u32>> {
    let (mut x, mut y) = (vec![0; seq], vec![0; seq]);
    let one = |row| {
        source.document(Stream::new(5, 77), 3, row as u64, &mut x, &mut y);
        x.iter().chain(y.last()).copied().collect()
    };
    (0..n).map(one).collect()
}

/// Nats/token of the best mixture of what is left of the four parts: weights fitted by expectation
/// maximisation on the documents themselves. `topic_blind` keeps the unigram at the prior's mean.
fn best_predictor(source: &Source, documents: &[Vec<u32>], keep: [bool; 4], topic_blind: bool) -> f64 {
    let topics = source.prior.len();
    let mean = |x: u32| source.unigrams.iter().map(|u| u.p(x as usize)).sum::<f64>() / topics as f64;
    let mut w = keep.map(|k| if k { 0.25 } else { 0.0 });
    let mut nats = 0.0;
    for _ in 0..15 {
        let (mut mass, mut tokens) = ([0.0; 4], 0.0);
        nats = 0.0;
        for doc in documents {
            let mut posterior = vec![1.0 / topics as f64; topics];
            for (t, &x) in doc.iter().enumerate() {
                let history = &doc[..t];
                let (tables, copy) = if t < 2 {
                    ([0.0; 2], None)
                } else {
                    let s = source.shared(history, x);
                    ([s.bigram, s.trigram], s.copy)
                };
                let fixed = w[1] * tables[0] + w[2] * tables[1] + if copy == Some(true) { w[3] } else { 0.0 };
                let slope = if t < 2 { 1.0 } else { w[0] + if copy.is_none() { w[3] } else { 0.0 } };
                let unigram = if topic_blind {
                    mean(x)
                } else {
                    posterior.iter().zip(&source.unigrams).map(|(p, u)| p * u.p(x as usize)).sum()
                };
                let p = fixed + slope * unigram;
                for (q, u) in posterior.iter_mut().zip(&source.unigrams) {
                    *q *= (fixed + slope * u.p(x as usize)) / p;
                }
                let total: f64 = posterior.iter().sum();
                posterior.iter_mut().for_each(|q| *q /= total);
                if t > 0 {
                    nats -= libm::log(p);
                    tokens += 1.0;
                }
                if t >= 2 {
                    let copy = copy.map_or(unigram, f64::from);
                    for (m, part) in mass
                        .iter_mut()
                        .zip([unigram, tables[0], tables[1], copy])
                        .zip(w)
                        .map(|((m, q), w)| (m, w * q / p))
                    {
                        *m += part;
                    }
                }
            }
        }
        let total: f64 = mass.iter().sum();
        w = mass.map(|m| m / total);
        nats /= tokens;
    }
    nats
}

#[test]
fn every_part_is_worth_a_tenth_of_a_nat() {
    let source = Source::new(&default_shape());
    let docs = documents(&source, 64, 300);
    let floor = docs.iter().map(|d| document_nats(&source, &d[..64], &d[1..])).sum::<f64>() / (300.0 * 64.0);
    // The fitted mixture of all parts can only be better than the truth by what it overfits: three weights.
    let full = best_predictor(&source, &docs, [true; 4], false);
    assert!((0.0..1e-3).contains(&(floor - full)), "{floor} {full}");
    for (part, keep, topic_blind) in [
        ("topic", [true; 4], true),
        ("bigram", [true, false, true, true], false),
        ("trigram", [true, true, false, true], false),
        ("copy", [true, true, true, false], false),
    ] {
        let worth = best_predictor(&source, &docs, keep, topic_blind) - full;
        assert!(worth >= 0.1, "{part} is worth {worth} nats");
    }
}

#[test]
fn context_is_worth_a_nat_and_the_floor_is_below_the_unigram() {
    let task = open(&[], 64);
    let v = task.validation();
    let floor = v.entropy_rate.expect("known");
    assert!(v.unigram_entropy - floor >= 1.0, "{} {floor}", v.unigram_entropy);
    assert!(v.unigram_entropy < libm::log(128.0));
    assert_eq!((v.inputs.len(), v.targets.len()), (64 * 64, 64 * 64));
    assert!(v.targets.iter().all(|&x| x < 128));
    // No add-one count of the targets themselves is better by more than it overfits.
    let mut own = vec![0u64; 128];
    v.targets.iter().for_each(|&x| own[x as usize] += 1);
    let best = context_free_entropy(&own, &v.targets);
    assert!((v.unigram_entropy - best).abs() < 0.03, "{} {best}", v.unigram_entropy);
}

#[test]
fn predictions_sum_to_one() {
    let shape = Shape { vocab: 37, topics: 3, successors: 5, ..default_shape() };
    let source = Source::new(&shape);
    for doc in documents(&source, 33, 5) {
        let mut filter = Filter::new(&source);
        for t in 0..doc.len() {
            let sum: f64 = (0..37).map(|x| filter.probability(&doc[..t], x)).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{t} {sum}");
            let p = filter.probability(&doc[..t], doc[t]);
            assert_eq!(filter.observe(&doc[..t], doc[t]), p);
        }
    }
}

/// p(doc, topic) straight from the mixture's definition, without the filter.
fn joint(source: &Source, doc: &[u32], topic: usize) -> f64 {
    let step = |t: usize| {
        let u = source.unigrams[topic].p(doc[t] as usize);
        if t < 2 {
            return u;
        }
        let s = source.shared(&doc[..t], doc[t]);
        let last = (0..t - 1).filter(|&j| doc[j] == doc[t - 1]).max();
        let copy = last.map_or(u, |j| if doc[j + 1] == doc[t] { 1.0 } else { 0.0 });
        let w = |i| source.parts.p(i);
        w(0) * u + w(1) * s.bigram + w(2) * s.trigram + w(3) * copy
    };
    source.prior.p(topic) * (0..doc.len()).map(step).product::<f64>()
}

/// All documents of `len` tokens over `vocab`.
fn enumerate(vocab: u32, len: u32) -> impl Iterator<Item = Vec<u32>> {
    (0..vocab.pow(len)).map(move |code| (0..len).map(|t| code / vocab.pow(t) % vocab).collect())
}

#[test]
fn entropy_agrees_with_enumeration_and_with_samples() {
    let shape = Shape { vocab: 3, topics: 2, successors: 2, ..default_shape() };
    let source = Source::new(&shape);
    let probability = |doc: &[u32]| joint(&source, doc, 0) + joint(&source, doc, 1);
    let (mut total, mut entropy) = (0.0, 0.0);
    for doc in enumerate(3, 6) {
        let p = probability(&doc);
        let nats = document_nats(&source, &doc[..5], &doc[1..]);
        assert!((nats + libm::log(p / probability(&doc[..1]))).abs() < 1e-9);
        total += p;
        entropy += p * nats / 5.0;
    }
    assert!((total - 1.0).abs() < 1e-9, "{total}");
    // The sampler draws from that very distribution: counts of the 729 documents by chi-square, and the mean.
    let docs = documents(&source, 5, 40_000);
    let mean = docs.iter().map(|d| document_nats(&source, &d[..5], &d[1..]) / 5.0).sum::<f64>() / 40_000.0;
    assert!((mean - entropy).abs() < 0.006, "{mean} {entropy}");
    let mut seen = vec![0.0; 729];
    docs.iter().for_each(|d| seen[d.iter().rev().fold(0, |code, &x| code * 3 + x as usize)] += 1.0);
    let expected: Vec<f64> = enumerate(3, 6).map(|d| 40_000.0 * probability(&d)).collect();
    let chi2: f64 = seen.iter().zip(&expected).map(|(s, e)| (s - e) * (s - e) / e).sum();
    // Mean 728, standard deviation 38 (more with rare cells).
    assert!(chi2 < 728.0 + 6.0 * 38.0, "{chi2}");
}

#[test]
fn validation_entropy_is_the_mean_over_its_documents() {
    let task = open(&[("vocab", 31.0), ("seq", 7.0)], 13);
    let source = Source::new(&Shape { vocab: 31, ..default_shape() });
    let v = task.validation();
    let rows = v.inputs.chunks(7).zip(v.targets.chunks(7));
    let doc = |(x, y): (&[u32], &[u32])| x.iter().chain(y.last()).copied().collect::<Vec<_>>();
    let nats: f64 = rows
        .map(doc)
        .map(|d| {
            let p = |d: &[u32]| (0..4).map(|z| joint(&source, d, z)).sum::<f64>();
            -libm::log(p(&d) / p(&d[..1]))
        })
        .sum();
    assert!((v.entropy_rate.expect("known") - nats / (13.0 * 7.0)).abs() < 1e-9);
}

pub(super) fn batch(task: &dyn Task, data_seed: u64, step: u64, rows: usize) -> (Vec<u32>, Vec<u32>) {
    let n = rows * task.seq();
    let (mut x, mut y) = (vec![u32::MAX; n], vec![u32::MAX; n]);
    task.batch(data_seed, step, &mut x, &mut y);
    (x, y)
}

#[test]
fn batches_are_a_function_of_seed_and_step() {
    for seq in [1, 2, 31, 64] {
        let task = open(&[("seq", seq as f64)], 4);
        let first = batch(&*task, 7, 0, 5);
        let other = batch(&*task, 7, 1, 5);
        assert_eq!(batch(&*task, 7, 1, 5), other);
        assert_eq!(batch(&*open(&[("seq", seq as f64)], 9), 7, 0, 5), first);
        assert_eq!(batch(&*task, 7, 0, 3).0, first.0[..3 * seq]);
        assert!(first != other && batch(&*task, 8, 0, 5) != first);
        for (x, y) in first.0.chunks(seq).zip(first.1.chunks(seq)) {
            assert_eq!(x[1..], y[..seq - 1]);
        }
        let v = task.validation();
        let seeded = batch(&*task, 0, 0, 4);
        assert!(seq < 31 || v.inputs != seeded.0, "validation is training");
        assert_eq!(open(&[("seq", seq as f64)], 9).validation().inputs[..4 * seq], v.inputs);
    }
}

#[test]
fn golden_tokens() {
    // The bits of the generator: they change only with a new NUMERICS.
    let task = open(&[("seq", 8.0)], 2);
    assert_eq!(batch(&*task, 1, 2, 1).0, GOLDEN);
}

const GOLDEN: [u32; 8] = [11, 21, 38, 16, 1, 22, 14, 88];

#[test]
fn a_shift_replaces_its_share() {
    let base = Source::new(&default_shape());
    for (shift, low, high) in [(0.0, 0.0, 0.0), (0.3, 0.2, 0.4), (0.6, 0.5, 0.7), (1.0, 1.0, 1.0)] {
        let source = Source::new(&Shape { shift, ..default_shape() });
        // A replaced row gives another set of successors, almost surely.
        let differs = |x1: u32| (0..128).any(|x| base.shared(&[0, x1], x).bigram != source.shared(&[0, x1], x).bigram);
        let share = (0..128).filter(|&x1| differs(x1)).count() as f64 / 128.0;
        assert!((low..=high).contains(&share), "{shift} {share}");
        let topics = (0..128).any(|x| base.unigrams[0].p(x) != source.unigrams[0].p(x));
        assert_eq!(topics, shift > 0.0);
    }
}

#[test]
fn copies_follow_the_last_occurrence() {
    for (history, copy) in [
        (&[][..], None),
        (&[5], None),
        (&[5, 5], Some(5)),
        (&[1, 2, 1], Some(2)),
        (&[1, 2, 1, 3, 1], Some(3)),
        (&[1, 2, 3], None),
    ] {
        assert_eq!(copied(history), copy, "{history:?}");
    }
}

#[test]
fn large_vocabularies_and_single_topics_work() {
    for given in [
        vec![("vocab", 4096.0), ("seq", 31.0)],
        vec![("vocab", 2.0), ("topics", 1.0), ("successors", 1.0)],
        vec![("vocab", 65_536.0), ("tail_exponent", 2.0), ("seq", 3.0), ("topics", 1.0)],
    ] {
        let task = open(&given, 3);
        let floor = task.validation().entropy_rate.expect("known");
        assert!(floor.is_finite() && floor > 0.0, "{given:?} {floor}");
    }
}

#[test]
fn wrong_weights_and_seeds_are_named() {
    let fault = |given: &[(&str, f64)]| build(&params(given)).err().expect("refused");
    assert_eq!(fault(&[("copy", 0.3)]).key, "unigram");
    assert!(fault(&[("copy", 0.3)]).message.contains("it must be 1"));
    assert_eq!(fault(&[("shift", 0.5), ("shift_seed", 0.0)]).key, "shift_seed");
}
