#!/usr/bin/env python3
"""Compares a GPU's math, exact and fast, with PyTorch and JAX on the same GPU: one command, Markdown. Interleaved rounds, medians.

    gpu.py [--rounds 5] [--seconds 2] [--cohort 64] [--size 4096] [--shape A] [--python PYTHON]… [--preheat target/release/preheat]
    gpu.py --device cpu [--preheat …]      the same on a CPU with tiny shapes: shows that everything runs, and no speed

First `doctor --device cuda`: the GPU against the reference and golden. Then four tables: a square product in f32 (exact, and cuBLAS
without tensor cores, called by ours and by PyTorch); the training step of a cohort in exact math, peers in f32 with the runs stacked
(torch.func.vmap, eager, compiled, and as one CUDA graph; jax.vmap under jit); the same in TF32, and PyTorch run by run; and one model
of about 110 million parameters in bf16 with parameters in f32.

Peers start from the same parameters and tokens, and their losses over the first steps must agree. Ours has other ones, at the same
scales: only its first loss is checked. Ours makes and uploads its batches in the step; peers hold theirs on the device. A peer that
a Python lacks, or that fails, is left out with a word. --python may be given several times; each peer takes the first that has it.
Nothing is fetched. Exit 1 where doctor finds a difference or losses disagree, 5 without a GPU.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from common import LARGE, LOSS_MARGIN, SHAPES, SIZES, TINY

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
    "torch graph": ("torch_cohort.py", "graph", "f32"),
    "jax jit": ("jax_cohort.py", "jit", "f32"),
}
FAST = {
    "preheat tf32": (None, "tf32"),
    "torch one by one": ("torch_cohort.py", "alone", "tf32"),
    "torch eager": ("torch_cohort.py", "eager", "tf32"),
    "torch.compile": ("torch_cohort.py", "compile", "tf32"),
    "torch graph": ("torch_cohort.py", "graph", "tf32"),
    "jax jit": ("jax_cohort.py", "jit", "tf32"),
}
LARGE_MODEL = {
    "preheat bf16": (None, "bf16"),
    "torch eager": ("torch_cohort.py", "alone", "bf16"),
    "torch.compile": ("torch_cohort.py", "alone-compile", "bf16"),
}
# A peer's exit code where its library or its GPU is not there, and ours.
ABSENT, FAILED = 3, 5
# How far losses of one run may be apart in two libraries, nats.
EARLY_MARGIN = {"f32": 1e-4, "tf32": 0.02, "bf16": 0.05}
# Where a Python's packages lie.
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, help="5, on a CPU 1")
    parser.add_argument("--seconds", type=float, help="of timed steps a round; 2, on a CPU 0.1")
    parser.add_argument("--cohort", type=int, help="runs together; 64, on a CPU 3")
    parser.add_argument("--size", type=int, help="of the square product; 4096, on a CPU 64")
    parser.add_argument("--shape", choices=SHAPES, default="A")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--patience", type=float, default=240.0, help="seconds that a peer may take to answer, once")
    parser.add_argument("--no-doctor", action="store_true", help="do not ask doctor first")
    parser.add_argument("--json", type=Path, help="write all reports there, after each table")
    parser.add_argument("--python", action="append", help="a Python of the peers")
    parser.add_argument("--preheat", default=HERE.parents[1] / "target/release/preheat", type=Path)
    args = parser.parse_args()
    on_gpu = args.device == "cuda"
    defaults = {"rounds": (1, 5), "seconds": (0.1, 2.0), "cohort": (3, 64), "size": (64, 4096)}
    for name, (small, large) in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, large if on_gpu else small)
    args.python = args.python or [sys.executable]
    args.sizes, args.large = (SHAPES[args.shape], LARGE) if on_gpu else (TINY, TINY)
    if min(args.rounds, args.cohort, args.size) < 1:
        parser.error("--rounds, --cohort, --size: at least 1")
    if not args.preheat.exists():
        parser.error(f"{args.preheat}: missing; `cargo build --release -p preheat-bench` makes it")
    return args


def environment(args):
    """CUDA's libraries among a Python's packages serve ours too, and JAX leaves memory to the others."""
    env = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if args.device == "cuda" and not env.get("PREHEAT_CUDA"):
        packages = [subprocess.run([p, "-c", PACKAGES], capture_output=True, text=True).stdout.strip() for p in args.python]
        folders = [str(lib) for at in packages if at for lib in sorted(Path(at).glob("nvidia/*/lib"), reverse=True)]
        env["PREHEAT_CUDA"] = os.pathsep.join(folders)
    return env


def last_line(text):
    return (text.strip().splitlines() or ["no word"])[-1]


class Ours:
    """A process a round."""

    def __init__(self, args, words):
        self.command = [str(word) for word in [args.preheat, "perf", *words, f"--device={args.device}", "--format=json"]]
        self.env = args.env

    def measure(self):
        done = subprocess.run(self.command, capture_output=True, text=True, env=self.env)
        if done.returncode:
            print(f"{' '.join(self.command)}: exit {done.returncode}: {last_line(done.stderr)}", file=sys.stderr)
            sys.exit(FAILED)
        return json.loads(done.stdout)

    def close(self):
        pass


class Peer:
    """A process that stays, since compiling takes longer than timing. It measures when it is told to."""

    def __init__(self, args, python, words):
        command = [str(word) for word in [python, *words, f"--device={args.device}", "--turns"]]
        self.patience = args.patience
        # A file, which never fills as a pipe does.
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=args.env
        )

    def measure(self):
        """The report, or the exit code and a word."""
        timer = threading.Timer(self.patience, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        timer.cancel()
        if line.startswith("{"):
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        killed = f"no answer within {self.patience:g} s; "
        return code, (killed if code == -9 else "") + last_line(self.errors.read())

    def close(self):
        if self.process.poll() is None:
            self.process.communicate()


def start(args, peer, words):
    """The measuring process of a peer and its first report, by the first Python that has it; or None and a word."""
    if peer[0] is None:
        ours = Ours(args, words)
        return ours, ours.measure()
    for python in args.python:
        process = Peer(args, python, [HERE / peer[0], f"--mode={peer[1]}", *words])
        answer = process.measure()
        if isinstance(answer, dict):
            return process, answer
        if answer[0] != ABSENT:
            break
    return None, answer[1]


def interleaved(args, title, peers, words_of):
    """Reports by name, one a round, and a word on each peer that is left out."""
    running, reports, left_out = {}, {}, []
    for name, peer in peers.items():
        print(f"{title}: {name}", file=sys.stderr)
        process, answer = start(args, peer, words_of(peer))
        if process:
            # The first turn may still compile: it shows only that all is there, unless it is the only one.
            running[name], reports[name] = process, [answer] if args.rounds == 1 else []
        else:
            left_out.append(f"{title}: {name} is left out: {answer}")
    for turn in range(args.rounds if args.rounds > 1 else 0):
        for name in list(running):
            print(f"round {turn + 1} of {args.rounds}: {title}, {name}", file=sys.stderr)
            answer = running[name].measure()
            if isinstance(answer, dict):
                reports[name].append(answer)
            else:
                left_out.append(f"{title}: {name} is left out: {answer[1]}")
                del running[name], reports[name]
    for process in running.values():
        process.close()
    return reports, left_out


def math_of(args, peer):
    """A CPU computes in exact math alone."""
    return "exact" if peer[0] is None and args.device == "cpu" else peer[-1]


def step_words(args, peer, sizes, cohort):
    words = [f"--{key}={size}" for key, size in zip(SIZES, sizes)]
    words += [f"--cohort={cohort}", f"--seconds={args.seconds}", f"--math={math_of(args, peer)}"]
    return ["cohort", *words] if peer[0] is None else words


def product_words(args, peer):
    words = [f"--size={args.size}", f"--seconds={args.seconds}", f"--math={math_of(args, peer)}"]
    return ["product", *words] if peer[0] is None else words


def disagreements(title, peers, reports, vocab):
    """Where what was timed is not the same training."""
    found = []
    for name, some in reports.items():
        if not abs(some[0]["first_loss"] - math.log(vocab)) < LOSS_MARGIN:
            found.append(f"{title}: {name}: the first loss is {some[0]['first_loss']}: not the same model")
    early = {name: some[0]["early_losses"] for name, some in reports.items() if "early_losses" in some[0]}
    for name, losses in early.items():
        first = next(iter(early))
        pairs = zip(sum(losses, []), sum(early[first], []), strict=True)
        apart = max(abs(a - b) for a, b in pairs)
        margin = EARLY_MARGIN[peers[name][-1]]
        if not apart <= margin:
            found.append(f"{title}: losses of {name} and {first} are {apart:.2g} nats apart; allowed: {margin:g}")
        if not losses[-1][0] < losses[0][0]:
            found.append(f"{title}: {name} does not learn: {losses[0][0]:.4f}, then {losses[-1][0]:.4f}")
    return found


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


def examined(args):
    """What doctor says of the GPU, and whether all is well."""
    done = subprocess.run([str(args.preheat), "doctor", "--device", "cuda"], capture_output=True, text=True, env=args.env)
    if done.returncode == FAILED and not done.stdout:
        print(last_line(done.stderr), file=sys.stderr)
        sys.exit(FAILED)
    return f"doctor --device cuda: exit {done.returncode}\n\n```\n{done.stdout.strip()}\n{done.stderr.strip()}\n```", done.returncode == 0


def main():
    args = arguments()
    args.env = environment(args)
    every, wrong, left_out = {}, [], []
    if args.device == "cpu":
        print("On a CPU, with tiny shapes: that everything runs, and no speed.\n")
    elif not args.no_doctor:
        words, sound = examined(args)
        print(words + "\n", flush=True)
        wrong += [] if sound else ["doctor found differences"]
    milliseconds = ("ms", lambda ms: f"{ms:.3f}")

    def show(title, peers, words_of, columns, vocab=None):
        reports, words = interleaved(args, title, peers, words_of)
        left_out.extend(words)
        if vocab:
            wrong.extend(disagreements(title, peers, reports, vocab))
        every[title] = reports
        print(table(title, reports, columns) + "\n", flush=True)
        if args.json:
            args.json.write_text(json.dumps(every, indent=1))

    def steps(kind, peers, sizes, cohort):
        tokens = cohort * sizes[3] * sizes[4]
        columns = [milliseconds, ("tokens/s", lambda ms: f"{1e3 * tokens / ms:,.0f}")]
        show(kind, peers, lambda peer: step_words(args, peer, sizes, cohort), columns, sizes[-1])

    flop = 2 * args.size**3
    speed = [milliseconds, ("TFLOP/s", lambda ms: f"{flop / ms / 1e9:.1f}")]
    show(f"product of {args.size}, f32", PRODUCTS, lambda peer: product_words(args, peer), speed)
    shape = args.shape if args.device == "cuda" else "tiny"
    steps(f"step of {args.cohort} runs of shape {shape}, f32", EXACT, args.sizes, args.cohort)
    steps(f"step of {args.cohort} runs of shape {shape}, TF32", FAST, args.sizes, args.cohort)
    steps("step of the large model, bf16", LARGE_MODEL, args.large, 1)

    print("\n".join(f"- {line}" for line in [*where(args, every), *left_out, *wrong]))
    sys.exit(1 if wrong else 0)


def where(args, every):
    """On what machine, with which versions, and what else the reader must know."""
    tables = list(every.values())
    machine, fast = (next(iter(reports.values()))[0]["machine"] for reports in (tables[0], tables[2]))
    all_reports = [(title, name, some[0]) for title, reports in every.items() for name, some in reports.items()]
    versions = {k: v for _, _, report in all_reports for k, v in report.get("versions", {}).items()}
    device = f"{machine['gpu']}; driver {machine['driver']}; nvrtc {machine['nvrtc']}" if "gpu" in machine else machine["cpu"]
    exact = [] if "gpu" in machine else ["on a CPU ours computes in exact math, whatever a row is called"]
    sizes = {args.shape if args.device == "cuda" else "tiny": args.sizes, "large": args.large}
    return [
        f"{device}; cuBLAS {fast.get('cublas', 'none')}; " + "; ".join(f"{k} {v}" for k, v in sorted(versions.items())),
        f"preheat {machine['commit'][:12]}; {args.rounds} interleaved rounds of {args.seconds:g} s; medians of wall time; up to 16 "
        "steps are given to the device before it is waited for; ours makes its batches in the step, peers hold theirs",
        *exact,
        *(f"{name}: " + ", ".join(f"{k} {v}" for k, v in zip(SIZES, at)) for name, at in sizes.items()),
        *(f"{title}: {name}: {note}" for title, name, report in all_reports for note in report.get("notes", [])),
    ]


main()
