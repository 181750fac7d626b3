#!/usr/bin/env python3
"""Compares exact math on a GPU with PyTorch and JAX on the same GPU: one command, Markdown. Interleaved rounds, medians.

    gpu.py [--rounds 5] [--seconds 3] [--cohort 64] [--size 4096] [--shape A] [--python PYTHON] [--preheat target/release/preheat]

Two tables: a square product in f32 (torch with TF32 off: cuBLAS's f32), and the training step of a cohort: ours together, peers
with the runs stacked (torch.func.vmap, eager and compiled; jax.vmap under jit). Peers run in f32 with TF32 off. Each peer that the
Python lacks is left out with a word. Needs a GPU.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

from common import LOSS_MARGIN, SHAPES, SIZES

HERE = Path(__file__).resolve().parent
PEERS = {
    "torch eager": ("torch_cohort.py", "--mode=eager"),
    "torch.compile": ("torch_cohort.py", "--mode=compile"),
    "jax jit": ("jax_cohort.py", "--mode=jit"),
}
OURS = "preheat"
# A peer's exit code where its library or its GPU is not there.
ABSENT = 3


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
    if done.returncode:
        sys.exit(f"{' '.join(str(word) for word in command)}: exit {done.returncode}: {last}")
    # Ours is one document of many lines, theirs is the last line.
    return json.loads(done.stdout if "perf" in command else done.stdout.strip().splitlines()[-1])


def product(args, name):
    if name == OURS:
        return run([args.preheat, "perf", "product", "--device=cuda", f"--size={args.size}", f"--seconds={args.seconds}", "--format=json"])
    return run([args.python, HERE / "torch_cohort.py", "--mode=product", f"--size={args.size}", f"--seconds={args.seconds}"])


def step(args, name):
    sizes = SHAPES[args.shape]
    words = [f"--{key}={size}" for key, size in zip(SIZES, sizes)] + [f"--cohort={args.cohort}", f"--seconds={args.seconds}"]
    if name == OURS:
        report = run([args.preheat, "perf", "cohort", "--device=cuda", "--format=json", *words])
    else:
        script, mode = PEERS[name]
        report = run([args.python, HERE / script, mode, *words])
    if report and not abs(report["first_loss"] - math.log(sizes[-1])) < LOSS_MARGIN:
        sys.exit(f"{name}: the first loss is {report['first_loss']}: not the same model")
    return report


def interleaved(args, names, measure):
    """Reports by name, one a round; a peer that is not there is dropped."""
    reports = {name: [] for name in names}
    for turn in range(args.rounds):
        for name in list(reports):
            print(f"round {turn + 1} of {args.rounds}: {measure.__name__}, {name}", file=sys.stderr)
            report = measure(args, name)
            if report:
                reports[name].append(report)
            else:
                del reports[name]
    return reports


def table(title, reports, columns):
    rows = [["", *(head for head, _ in columns), "time over preheat's"]]
    rows.append(["---"] * len(rows[0]))
    for name, some in reports.items():
        pairs = zip(some, reports[OURS])
        ratio = statistics.median(theirs["median_ms"] / ours["median_ms"] for theirs, ours in pairs)
        rows.append([name, *(cell(statistics.median(r["median_ms"] for r in some)) for _, cell in columns), f"{ratio:.2f}"])
    return f"{title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main():
    args = arguments()
    products = interleaved(args, [OURS, "torch f32"], product)
    steps = interleaved(args, [OURS, *PEERS], step)
    tokens = args.cohort * SHAPES[args.shape][3] * SHAPES[args.shape][4]
    machine = steps[OURS][0]["machine"]
    versions = {k: v for some in [*products.values(), *steps.values()] for k, v in some[0].get("versions", {}).items()}
    where = [
        f"{machine['gpu']}; driver {machine['driver']}; nvrtc {machine['nvrtc']}; " + "; ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        f"preheat {machine['commit'][:12]}; {args.rounds} interleaved rounds of {args.seconds:g} s; medians of wall time",
        f"shape {args.shape}: " + ", ".join(f"{k} {v}" for k, v in zip(SIZES, SHAPES[args.shape])) + f"; {args.cohort} runs",
    ]
    flop = 2 * args.size**3
    print(
        "\n\n".join(
            [
                table(
                    f"product of {args.size}, f32",
                    products,
                    [("ms", lambda ms: f"{ms:.3f}"), ("TFLOP/s", lambda ms: f"{flop / ms / 1e9:.1f}")],
                ),
                table(
                    "step of the cohort",
                    steps,
                    [("ms", lambda ms: f"{ms:.3f}"), ("tokens/s", lambda ms: f"{1e3 * tokens / ms:,.0f}")],
                ),
                "\n".join(f"- {line}" for line in where),
            ]
        )
    )


main()
