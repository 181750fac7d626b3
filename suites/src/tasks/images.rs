//! Synthetic images: each class is a stroke of three segments, drawn with shaken points and noise.
//!
//! A class is four points in the middle of the image. An image moves each point by a normal of `jitter` pixels and all of
//! them by one of `shift` pixels; a pixel at distance d from the stroke has brightness exp(−max(d − 0.7, 0)²/0.5), plus a normal
//! of `noise`, cut to \[0, 1\] and rounded to a byte. There are `images` training images, the same for every seed: a batch
//! draws from them with replacement, keyed by (data_seed, step, row). Validation images have a stream of their own.

use super::{Asks, Corpus, Task, TaskBuilder, Validation, context_free_entropy};
use crate::registry::{Entry, Invalid, ParamDef, ParamKind, Params, Preset};
use preheat_kernels::rng::Stream;

pub(super) const ENTRY: Entry<Box<dyn TaskBuilder>> = Entry {
    name: "images",
    doc: "synthetic grey images of strokes, one class each",
    params: PARAMS,
    build: |p: &Params| {
        fits(p.size("images"), p.size("side"), "images")?;
        Ok(Box::new(Builder(Drawer::new(p))))
    },
};

const fn int(name: &'static str, doc: &'static str, min: i64, max: i64, default: i64) -> ParamDef {
    ParamDef { name, doc, kind: ParamKind::Int { min, max }, default: Preset::Int(default) }
}

const fn real(name: &'static str, doc: &'static str, max: f64, default: f64) -> ParamDef {
    ParamDef { name, doc, kind: ParamKind::Real { min: 0.0, max }, default: Preset::Real(default) }
}

const PARAMS: &[ParamDef] = &[
    int("side", "pixels across and down", 6, 256, 14),
    int("classes", "classes, each a stroke", 2, 64, 10),
    int("images", "training images", 1, 1_000_000, 8000),
    int("stroke_seed", "seed of the strokes and of all images", 0, i64::MAX, 0),
    real("jitter", "standard deviation of each point of a stroke, pixels", 100.0, 0.45),
    real("shift", "standard deviation of the whole stroke, pixels", 100.0, 0.5),
    real("noise", "standard deviation of each pixel", 1.0, 0.05),
];

/// Streams of the strokes' seed, and of a data seed.
const STROKES: u32 = 0x696d_0001;
const LABELS: u32 = 0x696d_0002;
const IMAGES: u32 = 0x696d_0003;
const BATCHES: u32 = 0x696d_0004;
/// Counters of the training and of the validation images.
const TRAINING: u32 = 0;
const VALIDATION: u32 = 1;

/// Pixels of a set of images, at most: 1 GiB as tokens.
const MOST_PIXELS: usize = 1 << 28;

fn fits(images: usize, side: usize, key: &str) -> Result<(), Invalid> {
    let most = MOST_PIXELS / (side * side);
    if images <= most {
        return Ok(());
    }
    Err(Invalid::new(
        key,
        format!("{images} images of {side}×{side} pixels are too many to hold; allowed: at most {most}"),
    ))
}

/// Points of a stroke.
const POINTS: usize = 4;
/// Half the stroke's width, pixels, and how fast it fades.
const HALF_WIDTH: f64 = 0.7;
const FADING: f64 = 0.5;

type Point = [f64; 2];

#[derive(Clone, Debug)]
struct Drawer {
    side: usize,
    images: usize,
    seed: u64,
    jitter: f64,
    shift: f64,
    noise: f64,
    strokes: Vec<[Point; POINTS]>,
}

impl Drawer {
    fn new(p: &Params) -> Self {
        let (side, seed) = (p.size("side"), p.int("stroke_seed") as u64);
        // Points lie in the middle 70 % of the image.
        let place = |u: f32| (0.15 + 0.7 * f64::from(u)) * (side - 1) as f64;
        let stream = Stream::new(seed, STROKES);
        let stroke = |class: usize| {
            let at = |point: usize, axis: usize| ((class * POINTS + point) * 2 + axis) as u64;
            std::array::from_fn(|i| [0, 1].map(|axis| place(stream.uniform(0, at(i, axis)))))
        };
        Self {
            side,
            images: p.size("images"),
            seed,
            jitter: p.real("jitter"),
            shift: p.real("shift"),
            noise: p.real("noise"),
            strokes: (0..p.size("classes")).map(stroke).collect(),
        }
    }

    const fn pixels(&self) -> usize {
        self.side * self.side
    }

    /// `count` images \[count, side, side\] as bytes, and their classes.
    fn draw(&self, part: u32, count: usize) -> (Vec<u32>, Vec<u32>) {
        let mut bytes = vec![0; count * self.pixels()];
        let label = |i: u64| Stream::new(self.seed, LABELS).below(part, i, self.strokes.len() as u64) as u32;
        let labels: Vec<u32> = (0..count as u64).map(label).collect();
        let mut normals = vec![0.0; 2 * (POINTS + 1) + self.pixels()];
        for (i, (image, label)) in bytes.chunks_exact_mut(self.pixels()).zip(&labels).enumerate() {
            // An image's numbers are a step of the stream.
            let step = u32::try_from(2 * i).expect("fewer than 2^31 images") + part;
            Stream::new(self.seed, IMAGES).fill_normal(step, &mut normals);
            self.draw_one(*label as usize, &normals, image);
        }
        (bytes, labels)
    }

    fn draw_one(&self, class: usize, normals: &[f32], image: &mut [u32]) {
        let (moves, noise) = normals.split_at(2 * (POINTS + 1));
        let normal = |i: usize| f64::from(moves[i]);
        let stroke: [Point; POINTS] = std::array::from_fn(|point| {
            let moved = |axis: usize| self.jitter * normal(2 * point + axis) + self.shift * normal(2 * POINTS + axis);
            [0, 1].map(|axis| self.strokes[class][point][axis] + moved(axis))
        });
        for (at, (byte, noise)) in image.iter_mut().zip(noise).enumerate() {
            let here = [(at % self.side) as f64, (at / self.side) as f64];
            let nearest = stroke.windows(2).map(|ends| distance(here, ends[0], ends[1])).fold(f64::INFINITY, f64::min);
            let off = (nearest - HALF_WIDTH).max(0.0);
            let brightness = libm::exp(-off * off / FADING) + self.noise * f64::from(*noise);
            *byte = (brightness.clamp(0.0, 1.0) * 255.0).round() as u32;
        }
    }
}

/// From `p` to the segment between `a` and `b`.
fn distance(p: Point, a: Point, b: Point) -> f64 {
    let (along, to) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let squares = along[0] * along[0] + along[1] * along[1];
    let share = if squares > 0.0 { ((along[0] * to[0] + along[1] * to[1]) / squares).clamp(0.0, 1.0) } else { 0.0 };
    let off = [to[0] - share * along[0], to[1] - share * along[1]];
    (off[0] * off[0] + off[1] * off[1]).sqrt()
}

struct Builder(Drawer);

impl TaskBuilder for Builder {
    fn asks(&self) -> Asks {
        Asks::Label
    }
    fn open(&self, _corpus: &dyn Corpus, sequences: usize) -> Result<Box<dyn Task>, Invalid> {
        let drawer = &self.0;
        fits(sequences, drawer.side, "side")?;
        let (images, labels) = drawer.draw(TRAINING, drawer.images);
        let (inputs, targets) = drawer.draw(VALIDATION, sequences);
        let mut counts = vec![0; drawer.strokes.len()];
        labels.iter().for_each(|label| counts[*label as usize] += 1);
        let unigram_entropy = context_free_entropy(&counts, &targets);
        let validation = Validation { inputs, targets, unigram_entropy, entropy_rate: None };
        Ok(Box::new(Images { pixels: drawer.pixels(), classes: counts.len(), images, labels, validation }))
    }
}

struct Images {
    pixels: usize,
    classes: usize,
    images: Vec<u32>,
    labels: Vec<u32>,
    validation: Validation,
}

impl Task for Images {
    fn vocab(&self) -> usize {
        self.classes
    }
    fn seq(&self) -> usize {
        self.pixels
    }
    fn targets(&self) -> usize {
        1
    }
    fn batch(&self, data_seed: u64, step: u64, inputs: &mut [u32], targets: &mut [u32]) {
        let step = u32::try_from(step).expect("runs have fewer than 2^32 steps");
        let stream = Stream::new(data_seed, BATCHES);
        for (row, (x, y)) in inputs.chunks_exact_mut(self.pixels).zip(targets).enumerate() {
            let image = stream.below(step, row as u64, self.labels.len() as u64) as usize;
            x.copy_from_slice(&self.images[image * self.pixels..][..self.pixels]);
            *y = self.labels[image];
        }
    }
    fn validation(&self) -> &Validation {
        &self.validation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Scalar;
    use std::collections::BTreeSet;

    struct NoFiles;
    impl Corpus for NoFiles {
        fn read(&self, path: &str) -> Result<Vec<u8>, Invalid> {
            panic!("{path} is asked for")
        }
    }

    fn params(edits: &[(&str, Scalar)]) -> Params {
        let default = |def: &ParamDef| match def.default {
            Preset::Int(x) => Scalar::Int(x),
            Preset::Real(x) => Scalar::Real(x),
            _ => unreachable!("all have a number"),
        };
        let mut params = Params(PARAMS.iter().map(|def| (def.name.to_string(), default(def))).collect());
        params.0.extend(edits.iter().map(|(key, value)| (key.to_string(), value.clone())));
        params
    }

    fn open(edits: &[(&str, Scalar)]) -> Box<dyn Task> {
        (ENTRY.build)(&params(edits)).unwrap().open(&NoFiles, 40).unwrap()
    }

    #[test]
    fn distances_by_hand() {
        let (a, b) = ([1.0, 1.0], [4.0, 1.0]);
        for (p, expected) in [([2.0, 3.0], 2.0), ([0.0, 1.0], 1.0), ([7.0, 5.0], 5.0), ([3.0, 1.0], 0.0)] {
            assert_eq!(distance(p, a, b), expected, "{p:?}");
        }
        assert_eq!(distance([4.0, 5.0], a, a), 5.0);
    }

    #[test]
    fn a_still_stroke_is_bright_on_its_points_and_dark_far_away() {
        let still = [("jitter", 0.0), ("shift", 0.0), ("noise", 0.0)].map(|(key, x)| (key, Scalar::Real(x)));
        let drawer = Drawer::new(&params(&still));
        let (images, labels) = drawer.draw(TRAINING, 30);
        for (image, label) in images.chunks_exact(drawer.pixels()).zip(labels) {
            for [x, y] in drawer.strokes[label as usize] {
                assert_eq!(image[y.round() as usize * drawer.side + x.round() as usize], 255, "within half a pixel");
            }
            assert_eq!(image[0], 0, "the corner");
            assert!(image.iter().filter(|b| **b > 127).count() < drawer.pixels() / 2);
        }
    }

    #[test]
    fn batches_are_training_images_with_their_labels() {
        let task = open(&[("images", Scalar::Int(23)), ("side", Scalar::Int(8))]);
        assert_eq!((task.seq(), task.targets(), task.vocab()), (64, 1, 10));
        let drawer = Drawer::new(&params(&[("images", Scalar::Int(23)), ("side", Scalar::Int(8))]));
        let (images, labels) = drawer.draw(TRAINING, 23);
        let known: BTreeSet<(&[u32], u32)> = images.chunks_exact(64).zip(labels).collect();
        let (mut x, mut y, mut seen) = (vec![0; 64 * 9], vec![0; 9], BTreeSet::new());
        for step in 0..40 {
            task.batch(5, step, &mut x, &mut y);
            for (image, label) in x.chunks_exact(64).zip(&y) {
                assert!(known.contains(&(image, *label)));
                seen.insert(image.to_vec());
            }
        }
        assert_eq!(seen.len(), known.len(), "each is drawn");
        let last = x.clone();
        task.batch(6, 39, &mut x, &mut y);
        assert_ne!(x, last, "another data seed");
        task.batch(5, 39, &mut x, &mut y);
        assert_eq!(x, last);
    }

    #[test]
    fn more_images_than_memory_are_refused() {
        let many = params(&[("images", Scalar::Int(1_000_000)), ("side", Scalar::Int(256))]);
        let refused = (ENTRY.build)(&many).err().expect("refused");
        assert!(refused.key == "images" && refused.message.ends_with("allowed: at most 4096"), "{refused}");
        let few = params(&[("images", Scalar::Int(1)), ("side", Scalar::Int(256))]);
        assert_eq!((ENTRY.build)(&few).unwrap().open(&NoFiles, 4097).err().expect("refused").key, "side");
    }

    #[test]
    fn validation_images_are_others_and_bytes() {
        let task = open(&[]);
        let v = task.validation();
        assert_eq!((v.inputs.len(), v.targets.len()), (40 * 196, 40));
        assert!(v.inputs.iter().all(|b| *b < 256) && v.targets.iter().all(|y| *y < 10));
        let (images, _) = Drawer::new(&params(&[])).draw(TRAINING, 40);
        assert!(v.inputs.chunks_exact(196).zip(images.chunks_exact(196)).all(|(a, b)| a != b));
        assert!((v.unigram_entropy - libm::log(10.0)).abs() < 0.1, "{}", v.unigram_entropy);
    }
}
