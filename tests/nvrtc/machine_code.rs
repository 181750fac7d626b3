//! The common loops of the matrix products, read from machine code: how much of what a warp issues is multiply-adds, and
//! that nothing narrow or conditional crept in. The disassembler is the wheel that `bash .ci/run nvrtc` fetches beside
//! the compiler. `cargo test --test nvrtc common_loops -- --nocapture` prints the table.

use crate::{compiler, folder, kept};
use preheat_kernels::cuda::Sources;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// The loop of a kernel that holds most multiply-adds and no other loop: instructions by name, of loads and stores with
/// their width.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Loop {
    counts: BTreeMap<String, usize>,
    /// Multiply-adds whose three registers lie in one of the two banks, none of them kept from the one before: a cycle
    /// more each, as published for Volta.
    same_bank: usize,
}

impl Loop {
    fn of(instructions: &[&str]) -> Self {
        let mut found = Self::default();
        let mut kept = [None; 3];
        for text in instructions {
            let (name, operands) = split(text);
            *found.counts.entry(name.clone()).or_default() += 1;
            if name != "FFMA" {
                kept = [None; 3];
                continue;
            }
            let sources: Vec<&str> = operands.split(", ").skip(1).collect();
            let read: Vec<u32> = sources
                .iter()
                .enumerate()
                .filter_map(|(at, s)| register(s).filter(|r| kept.get(at) != Some(&Some(*r))))
                .collect();
            found.same_bank += usize::from(read.len() == 3 && read.iter().all(|r| r % 2 == read[0] % 2));
            kept = [0, 1, 2].map(|at| sources.get(at).filter(|s| s.ends_with(".reuse")).and_then(|s| register(s)));
        }
        found
    }
    fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }
    fn all(&self) -> usize {
        self.counts.values().sum()
    }
    /// Multiply-adds of a hundred instructions.
    fn share(&self) -> f64 {
        100.0 * self.count("FFMA") as f64 / self.all() as f64
    }
    /// Those of one family, by name.
    fn family<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, usize)> {
        self.counts.iter().map(|(n, c)| (n.as_str(), *c)).filter(move |(n, _)| n.split('.').next() == Some(name))
    }
}

/// Name and operands of an instruction: no predicate, and of the modifiers a load's or a store's width alone.
fn split(text: &str) -> (String, &str) {
    let code = if text.starts_with('@') { text.split_once(' ').map_or("", |(_, rest)| rest.trim()) } else { text };
    let (name, operands) = code.split_once(' ').unwrap_or((code, ""));
    let family = name.split('.').next().unwrap_or_default();
    let moves = ["LD", "LDS", "STS", "LDG", "STG"].contains(&family);
    let width = ["64", "128"].into_iter().find(|w| moves && name.split('.').any(|part| part == *w));
    (width.map_or_else(|| family.into(), |w| format!("{family}.{w}")), operands.trim())
}

/// `R12` and `-R12.reuse` are register 12.
fn register(operand: &str) -> Option<u32> {
    operand.trim_start_matches('-').strip_prefix('R')?.split('.').next()?.parse().ok()
}

/// The hottest loop of each kernel of a disassembly.
fn loops(text: &str) -> BTreeMap<String, Loop> {
    let mut all = BTreeMap::new();
    for section in text.split(".section\t.text.").skip(1) {
        let (kernel, rest) = section.split_once(',').expect("a section has flags");
        let body = rest.split("\t.section\t").next().unwrap_or_default();
        if let Some(found) = hottest(body) {
            all.insert(kernel.to_string(), found);
        }
    }
    all
}

fn hottest(body: &str) -> Option<Loop> {
    let (mut instructions, mut labels): (Vec<&str>, BTreeMap<&str, usize>) = (Vec::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(label) = line.strip_suffix(':') {
            labels.insert(label, instructions.len());
        } else if let Some((_, code)) = line.split_once("*/").filter(|(address, _)| address.trim().starts_with("/*")) {
            instructions.push(code.split(';').next().unwrap_or_default().trim());
        }
    }
    let target = |code: &str| code.split_once("`(").and_then(|(_, rest)| rest.split(')').next().map(str::to_owned));
    let back = instructions.iter().enumerate().filter(|(_, code)| split(code).0 == "BRA").filter_map(|(at, code)| {
        let from = *labels.get(target(code)?.as_str())?;
        (from <= at).then_some((from, at))
    });
    let back: Vec<(usize, usize)> = back.collect();
    let inner = |a: &(usize, usize)| !back.iter().any(|b| a != b && a.0 <= b.0 && b.1 <= a.1);
    let of = |(from, to): &(usize, usize)| Loop::of(&instructions[*from..=*to]);
    back.iter().filter(|a| inner(a)).map(of).max_by_key(|l| l.count("FFMA"))
}

/// What the common loop of a kernel is to hold in one turn.
struct Expected {
    /// Multiply-adds of a thread.
    sums: usize,
    /// Loads of the next chunk, of 128 bits each.
    loads: usize,
    /// Multiply-adds of a hundred instructions, with some to spare.
    share: f64,
}

impl Expected {
    fn of(kernel: &str) -> Self {
        match kernel.rsplit('_').next() {
            Some("128") => Self { sums: 8 * 64, loads: 2, share: 84.0 },
            Some("64") => Self { sums: 16 * 32, loads: 4, share: 80.0 },
            _ => Self { sums: 16 * 16, loads: 4, share: 72.0 },
        }
    }
    fn faults(&self, l: &Loop) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, count) in [("FFMA", self.sums), ("LDG.128", self.loads)] {
            if l.count(name) != count {
                wrong.push(format!("{} {name}, not {count}", l.count(name)));
            }
        }
        if l.share() < self.share {
            wrong.push(format!("{:.1} % multiply-adds, not {}", l.share(), self.share));
        }
        // NVRTC now and then loads one number again that it could not keep.
        if 10 * l.count("LDS") > l.count("LDS.128") {
            wrong.push(format!("{} LDS of 32 bits", l.count("LDS")));
        }
        // Narrow loads, those that may be of any kind of memory, spills and branches.
        for (name, most) in
            [("LDG", 0), ("LD", 0), ("LD.128", 0), ("LDL", 0), ("STL", 0), ("BSSY", 0), ("BAR", 1), ("BRA", 1)]
        {
            if l.count(name) > most {
                wrong.push(format!("{} {name}", l.count(name)));
            }
        }
        wrong
    }
}

/// The wheel's disassembler, or one on the path beside another compiler.
fn disassembler() -> Option<PathBuf> {
    let fetched = folder().join("../bin/nvdisasm");
    let places = [fetched, PathBuf::from("nvdisasm")];
    places.into_iter().find(|place| Command::new(place).arg("--version").output().is_ok_and(|o| o.status.success()))
}

#[test]
fn common_loops_of_products_are_multiply_adds_and_wide_loads() {
    let test = "common_loops_of_products_are_multiply_adds_and_wide_loads";
    let Some(nvrtc) = compiler(test) else { return };
    let Some(disassembler) = disassembler() else { return preheat::skip(test, "nvdisasm") };
    let sources = Sources::new([]);
    let unit = sources.units.iter().find(|unit| unit.name == "matmul.cu").expect("the unit of products");
    let (mut wrong, mut table) = (Vec::new(), String::new());
    for sm in [80, 90] {
        let texts = kept::compiled(nvrtc, &unit.name, &unit.text, sm).unwrap_or_else(|why| panic!("{why}"));
        let out = Command::new(&disassembler).arg("-c").arg(&texts.cubin).output().expect("it runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let loops = loops(&String::from_utf8_lossy(&out.stdout));
        let mut kernels = unit.kernels();
        kernels.sort_unstable();
        assert_eq!(loops.keys().map(String::as_str).collect::<Vec<_>>(), kernels, "a loop of each kernel");
        for (kernel, l) in &loops {
            wrong.extend(Expected::of(kernel).faults(l).into_iter().map(|fault| format!("sm_{sm} {kernel}: {fault}")));
            let moves: String = ["LDS", "LDG", "STS"]
                .into_iter()
                .flat_map(|family| l.family(family))
                .map(|(name, count)| format!(" {count} {name}"))
                .collect();
            table += &format!(
                "sm_{sm} {kernel:<14} {:>4} instructions, {:.1} % FFMA, {} of them in one bank,{moves}\n",
                l.all(),
                l.share(),
                l.same_bank
            );
        }
    }
    println!("{table}");
    assert_eq!(wrong, Vec::<String>::new(), "\n{table}");
}

#[test]
fn the_hottest_loop_is_found_and_its_faults_are_named() {
    let text = "\t.section\t.text.k,\"ax\",@progbits\n.L_x_1:\n        /*0000*/                   IADD3 R1, R1, 0x1, RZ ;\n\
        .L_x_2:\n        /*0010*/              @!P0 LDS.128 R4, [R2] ;\n        /*0020*/                   LDS R8, [R2] ;\n\
        /*0030*/                   FFMA R2, R4.reuse, R6, R2 ;\n        /*0040*/                   FFMA R10, R4, R6, R10 ;\n\
        /*0050*/                   FFMA R3, R4, R6, R3 ;\n        /*0060*/               @P0 BRA `(.L_x_2) ;\n\
        /*0070*/                   BRA `(.L_x_1) ;\n\t.section\t.nv.info,\"\",@\"SHT_CUDA_INFO\"\n";
    let found = loops(text);
    let l = &found["k"];
    assert_eq!((l.all(), l.count("FFMA"), l.count("LDS.128"), l.count("LDS")), (6, 3, 1, 1));
    // The second has its first operand from the one before, and the third an odd register.
    assert_eq!(l.same_bank, 1);
    let named = Expected { sums: 4, loads: 0, share: 60.0 }.faults(l);
    assert_eq!(named, ["3 FFMA, not 4", "50.0 % multiply-adds, not 60", "1 LDS of 32 bits"]);
    let other =
        Loop::of(&["FFMA R2, R4, R6, R2", "LDL R1, [R0]", "@P1 LD.E.128 R4, desc[UR8][R2.64]", "BSSY B0, `(.L_x_9)"]);
    let named = Expected { sums: 1, loads: 1, share: 20.0 }.faults(&other);
    assert_eq!(named, ["0 LDG.128, not 1", "1 LD.128", "1 LDL", "1 BSSY"]);
}
