//! What compiled kernels must not hold, read from the compiler's report and from its PTX.

use std::collections::BTreeMap;

/// Parts of an instruction's name that other bits than the contract's would come from, or other orders.
const FORBIDDEN: [(&str, &str); 11] = [
    ("approx", "an approximation"),
    ("ftz", "flushes denormals"),
    ("atom", "an atomic: no order"),
    ("red", "an atomic: no order"),
    ("ex2", "an approximation"),
    ("lg2", "an approximation"),
    ("tanh", "an approximation"),
    ("sin", "an approximation"),
    ("cos", "an approximation"),
    ("mma", "tensor cores round otherwise"),
    ("local", "local memory: something is spilled or indexed"),
];

/// Instructions whose result is rounded; in f32 they must say how.
const ROUNDED: [&str; 8] = ["add", "sub", "mul", "div", "fma", "mad", "sqrt", "rcp"];

/// Instructions whose zero and NaN are not the contract's: a maximum is compare and select.
const UNORDERED: [&str; 2] = ["min", "max"];

/// Faults of the PTX, each with its line's number: one a line.
pub(crate) fn ptx(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(i, line)| Some(format!("PTX line {}: {}: {}", i + 1, line.trim(), fault(line)?))).collect()
}

fn fault(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or_default().trim();
    // A predicate stands before the instruction, and braces around a block.
    let mut words = code.split_whitespace().filter(|word| !word.starts_with('@') && *word != "{");
    let name: Vec<&str> = words.next()?.trim_end_matches(';').split('.').collect();
    let opcode = name[0];
    // What a declaration names may have any name: only its state space counts.
    let parts = if opcode.is_empty() { &name[1..2.min(name.len())] } else { &name[..] };
    let holds = |part: &str| parts.iter().any(|p| *p == part || part == "mma" && p.ends_with("mma"));
    let found: Vec<String> =
        FORBIDDEN.iter().filter(|(part, _)| holds(part)).map(|(part, why)| format!("{part}: {why}")).collect();
    if !found.is_empty() {
        return Some(found.join("; "));
    }
    let single = name.last() == Some(&"f32");
    if single && ROUNDED.contains(&opcode) && !name.contains(&"rn") {
        return Some(format!("{opcode} without .rn"));
    }
    // With +0 a maximum is the select: PTX orders -0 below +0, and NaN gives the other. The compiler knows it.
    let with_zero = opcode == "max" && code.trim_end_matches(';').ends_with(" 0f00000000");
    (single && UNORDERED.contains(&opcode) && !with_zero).then(|| format!("{opcode}: compare and select instead"))
}

/// What the assembler reports of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Registers a thread.
    pub(crate) registers: u32,
    /// Bytes of stack, of spilled stores and of spilled loads a thread.
    pub(crate) spilled: [u32; 3],
}

/// The report of `--ptxas-options=-v`, by kernel.
pub(crate) fn reports(log: &str) -> BTreeMap<String, Report> {
    let mut all: BTreeMap<String, Report> = BTreeMap::new();
    let mut kernel = String::new();
    for line in log.lines() {
        let number = |unit: &str| {
            let before = line.split(unit).next().filter(|before| before.len() < line.len())?;
            before.split_whitespace().last()?.trim_start_matches(',').parse::<u32>().ok()
        };
        if let Some(name) = line.split("entry function '").nth(1).and_then(|rest| rest.split('\'').next()) {
            kernel = name.to_string();
            all.insert(kernel.clone(), Report::default());
        }
        let Some(report) = all.get_mut(&kernel) else { continue };
        let units = [" bytes stack frame", " bytes spill stores", " bytes spill loads"];
        for (bytes, unit) in report.spilled.iter_mut().zip(units) {
            *bytes = number(unit).unwrap_or(*bytes);
        }
        report.registers = number(" registers").unwrap_or(report.registers);
    }
    all
}

/// Faults of a report: one a kernel.
pub(crate) fn spills(reports: &BTreeMap<String, Report>) -> Vec<String> {
    let spilled = reports.iter().filter(|(_, report)| report.spilled != [0; 3]);
    spilled.map(|(name, r)| format!("{name}: stack, spilled stores and loads of {:?} bytes", r.spilled)).collect()
}
