#!/usr/bin/env python3
"""Compares a GPU's math, exact and fast, with PyTorch and JAX on the same GPU: one command, Markdown. Interleaved rounds, medians.

    gpu.py [--rounds 5] [--seconds 3] [--cohort 64] [--size 4096] [--shape A] [--python PYTHON] [--preheat target/release/preheat]

Four tables: a square product in f32 (exact, and cuBLAS without tensor cores, called by ours and by PyTorch); the training step of a
cohort in exact math, peers in f32 with the runs stacked (torch.func.vmap, eager and compiled; jax.vmap under jit); the same in TF32,
and PyTorch run by run; and one model of about 110 million parameters in bf16 with parameters in f32. Each peer that the Python lacks
is left out with a word. Needs a GPU: without one it ends with 5 and a line.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

from common import LARGE, LOSS_MARGIN, SHAPES, SIZES

HERE = Path(__file__).resolve().parent
# By name: None for ours, or a script and its mode; then how products are computed.
PRODUCTS = {
    "preheat exact": (None, "exact"),
    "preheat cuBLAS": (None, "f32"),
    "torch": ("torch_cohort.py", "product", "f32"),
}
EXACT = {
    "preheat exact": (None, "exact"),
    "torch eager": ("torch_cohort.py", "eager", "f32"),
    "torch.compile": ("torch_cohort.py", "compile", "f32"),
    "jax jit": ("jax_cohort.py", "jit", "f32"),
}
FAST = {
    "preheat tf32": (None, "tf32"),
    "torch one by one": ("torch_cohort.py", "alone", "tf32"),
    "torch eager": ("torch_cohort.py", "eager", "tf32"),
    "torch.compile": ("torch_cohort.py", "compile", "tf32"),
    "jax jit": ("jax_cohort.py", "jit", "tf32"),
}
LARGE_MODEL = {
    "preheat bf16": (None, "bf16"),
    "torch eager": ("torch_cohort.py", "eager", "bf16"),
    "torch.compile": ("torch_cohort.py", "compile", "bf16"),
}
# A peer's exit code where its library or its GPU is not there, and ours.
ABSENT, FAILED = 3, 5


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of timed steps a process")
    parser.add_argument("--cohort", type=int, default=64, help="runs together")
    parser.add_argument("--size", type=int, default=4096, help="of the square product")
    parser.add_argument("--shape", choices=SHAPES, default="A")
    parser.add_argument("--python", default=sys.executable, help="the peers' Python")
    parser.add_argument("--preheat", default=HERE.parents[1] / "target/release/preheat", type=Path)
    args = parser.parse_args()
    if min(args.rounds, args.cohort, args.size) < 1:
        parser.error("--rounds, --cohort, --size: at least 1")
    if not args.preheat.exists():
        parser.error(f"{args.preheat}: missing; `cargo build --release -p preheat-bench` makes it")
    return args


def run(command):
    """The last line's report; None where a peer is not there."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    if done.returncode == ABSENT:
        print(f"left out: {last}", file=sys.stderr)
        return None
    if done.returncode == FAILED:
        print(last, file=sys.stderr)
        sys.exit(FAILED)
    if done.returncode:
        sys.exit(f"{' '.join(str(word) for word in command)}: exit {done.returncode}: {last}")
    # Ours is one document of many lines, theirs is the last line.
    return json.loads(done.stdout if "perf" in command else done.stdout.strip().splitlines()[-1])


def product(args, peer):
    words = [f"--size={args.size}", f"--seconds={args.seconds}", f"--math={peer[-1]}"]
    if peer[0] is None:
        return run([args.preheat, "perf", "product", "--device=cuda", "--format=json", *words])
    return run([args.python, HERE / peer[0], f"--mode={peer[1]}", *words])


def step(args, peer, sizes, cohort):
    words = [f"--{key}={size}" for key, size in zip(SIZES, sizes)]
    words += [f"--cohort={cohort}", f"--seconds={args.seconds}", f"--math={peer[-1]}"]
    if peer[0] is None:
        report = run([args.preheat, "perf", "cohort", "--device=cuda", "--format=json", *words])
    else:
        report = run([args.python, HERE / peer[0], f"--mode={peer[1]}", *words])
    if report and not abs(report["first_loss"] - math.log(sizes[-1])) < LOSS_MARGIN:
        sys.exit(f"{peer}: the first loss is {report['first_loss']}: not the same model")
    return report


def interleaved(args, title, peers, measure):
    """Reports by name, one a round; a peer that is not there is dropped."""
    reports = {name: [] for name in peers}
    for turn in range(args.rounds):
        for name in list(reports):
            print(f"round {turn + 1} of {args.rounds}: {title}, {name}", file=sys.stderr)
            report = measure(peers[name])
            if report:
                reports[name].append(report)
            else:
                del reports[name]
    return reports


def table(title, reports, columns):
    """The first row is what the others are compared with."""
    first = next(iter(reports))
    rows = [["", *(head for head, _ in columns), f"time over {first}"]]
    rows.append(["---"] * len(rows[0]))
    for name, some in reports.items():
        pairs = zip(some, reports[first])
        ratio = statistics.median(theirs["median_ms"] / ours["median_ms"] for theirs, ours in pairs)
        rows.append([name, *(cell(statistics.median(r["median_ms"] for r in some)) for _, cell in columns), f"{ratio:.2f}"])
    return f"{title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    args = arguments()
    shape, flop = SHAPES[args.shape], 2 * args.size**3
    described = {sizes: ", ".join(f"{k} {v}" for k, v in zip(SIZES, sizes)) for sizes in (shape, LARGE)}
    milliseconds = ("ms", lambda ms: f"{ms:.3f}")
    every, tables = [], []

    def steps(title, peers, sizes, cohort):
        reports = interleaved(args, title, peers, lambda peer: step(args, peer, sizes, cohort))
        tokens = cohort * sizes[3] * sizes[4]
        every.append(reports)
        tables.append(table(title, reports, [milliseconds, ("tokens/s", lambda ms: f"{1e3 * tokens / ms:,.0f}")]))

    title = f"product of {args.size}, f32"
    products = interleaved(args, title, PRODUCTS, lambda peer: product(args, peer))
    every.append(products)
    tables.append(table(title, products, [milliseconds, ("TFLOP/s", lambda ms: f"{flop / ms / 1e9:.1f}")]))
    steps(f"step of {args.cohort} runs of shape {args.shape}, f32", EXACT, shape, args.cohort)
    steps(f"step of {args.cohort} runs of shape {args.shape}, TF32", FAST, shape, args.cohort)
    steps("step of the large model, bf16", LARGE_MODEL, LARGE, 1)

    machine = next(iter(products.values()))[0]["machine"]
    cublas = next(iter(every[2].values()))[0]["machine"].get("cublas", "?")
    versions = {k: v for reports in every for some in reports.values() for k, v in some[0].get("versions", {}).items()}
    where = [
        f"{machine['gpu']}; driver {machine['driver']}; nvrtc {machine['nvrtc']}; cuBLAS {cublas}; "
        + "; ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        f"preheat {machine['commit'][:12]}; {args.rounds} interleaved rounds of {args.seconds:g} s; medians of wall time",
        f"shape {args.shape}: {described[shape]}; the large model: {described[LARGE]}",
    ]
    print("\n\n".join([*tables, "\n".join(f"- {line}" for line in where)]))


main()
