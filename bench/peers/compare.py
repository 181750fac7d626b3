#!/usr/bin/env python3
"""Compares `perf step` with PyTorch and JAX: interleaved rounds of processes pinned to one core, medians, Markdown.

    compare.py [--shapes A,B] [--rounds 5] [--seconds 3] [--clock wall|cpu] [--core 0] [--python PYTHON]

Each round runs ours, then every peer, shape by shape. A star marks MKL with its vendor check answered, so that it uses AVX-512
on processors of other vendors too. Needs taskset, and a Python with torch and jax for the peers.
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
    "torch eager": ("torch_step.py", "--mode=eager"),
    "torch.compile": ("torch_step.py", "--mode=compile"),
    "torch eager*": ("torch_step.py", "--mode=eager", "--mkl-avx512"),
    "torch.compile*": ("torch_step.py", "--mode=compile", "--mkl-avx512"),
    "jax jit": ("jax_step.py",),
}
OURS = "preheat"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="A,B,C,D", help="some of A,B,C,D")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of timed steps a process")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: time on a core, for a shared machine")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--python", default=sys.executable, help="the peers' Python")
    parser.add_argument("--preheat", default=HERE.parents[1] / "target/release/preheat", type=Path)
    args = parser.parse_args()
    args.shapes, args.peers = args.shapes.split(","), args.peers.split(",")
    for name, known in [(x, SHAPES) for x in args.shapes] + [(x, PEERS) for x in args.peers]:
        if name not in known:
            parser.error(f"{name!r}: allowed: {', '.join(known)}")
    if args.rounds < 1:
        parser.error("--rounds: at least 1")
    if not args.preheat.exists():
        parser.error(f"{args.preheat}: missing; `cargo build --release -p preheat-bench` makes it")
    return args


def run(args, name, sizes):
    shape = [f"--{key}={size}" for key, size in zip(SIZES, sizes)] + [f"--seconds={args.seconds}"]
    if name == OURS:
        command = [args.preheat, "perf", "step", "--format=json", *shape]
    else:
        script, *words = PEERS[name]
        command = [args.python, HERE / script, *words, *shape]
    done = subprocess.run(["taskset", "-c", str(args.core), *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    report = json.loads(done.stdout if name == OURS else done.stdout.strip().splitlines()[-1])
    off = report["first_loss"] - math.log(sizes[-1])
    if not abs(off) < LOSS_MARGIN:
        sys.exit(f"{name}: the first loss is ln V {off:+.3f}: not the same model")
    return report


def interleaved(args):
    """Reports by (shape, name), one a round."""
    names = [OURS, *args.peers]
    reports = {(shape, name): [] for shape in args.shapes for name in names}
    for turn in range(args.rounds):
        for shape in args.shapes:
            for name in names:
                print(f"round {turn + 1} of {args.rounds}: {shape}, {name}", file=sys.stderr)
                reports[shape, name].append(run(args, name, SHAPES[shape]))
    return reports


def markdown(args, reports):
    clock, rate = {"wall": ("median_ms", "peak_gflops"), "cpu": ("cpu_ms", "cpu_peak_gflops")}[args.clock]
    names = [OURS, *args.peers]

    def median(shape, name, field):
        return statistics.median(report[field] for report in reports[shape, name])

    def table(title, cell):
        rows = [["shape", *names], ["---"] * (len(names) + 1)]
        rows += [[shape, *(cell(shape, name) for name in names)] for shape in args.shapes]
        return f"{title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def share(shape, name):
        ours = reports[shape, OURS][0]
        rates = ours["flop"] / (1e6 * median(shape, name, clock))
        return f"{100 * rates / median(shape, OURS, rate):.0f} %"

    def ratio(shape, name):
        """The median over rounds of the ratio within a round."""
        pairs = zip(reports[shape, name], reports[shape, OURS])
        return f"{statistics.median(theirs[clock] / ours[clock] for theirs, ours in pairs):.2f}"

    clock_name = "wall time" if args.clock == "wall" else "time on a core"
    waited = max(report["waited"] for (_, name), some in reports.items() if name == OURS for report in some)
    first = reports[args.shapes[0], OURS][0]
    versions = {k: v for some in reports.values() for k, v in some[0].get("versions", {}).items()}
    sizes = [f"{name}: " + ", ".join(f"{k} {v}" for k, v in zip(SIZES, SHAPES[name])) for name in args.shapes]
    where = [
        f"{first['machine']['cpu']}, {first['machine']['os']}, {first['simd']}; {first['machine']['rustc']}; "
        + "; ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        f"preheat {first['machine']['commit'][:12]}; one thread on core {args.core}; {args.rounds} interleaved rounds of "
        f"{args.seconds:g} s; medians of {clock_name}; ours waited for the core at most {100 * waited:.0f} % of the time",
        "`*`: MKL's vendor check answered, so that it uses AVX-512",
        *sizes,
    ]
    return "\n\n".join(
        [
            table("ms a step", lambda shape, name: f"{median(shape, name, clock):.2f}"),
            table("time over preheat's", ratio),
            table("share of the peak of fused multiply-adds", share),
            "\n".join(f"- {line}" for line in where),
        ]
    )


def main():
    args = arguments()
    print(markdown(args, interleaved(args)))


main()
