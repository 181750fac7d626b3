"""What the peers' scripts share: the words of `perf step`, one thread, timing, one JSON line.

A step is forward, backward and AdamW of the model that `perf step` times: GPT with learned positions, layer norms
before (or after) the sublayers, GELU-tanh, feed-forward width 4 C, biases everywhere but in the head. Weights and tokens are
random, at the initial scales of `suites/src/models/transformer.rs`, so the first loss is near ln V + 1/8.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = ("layers", "width", "heads", "seq", "batch", "vocab")
SHAPES = {
    "A": (4, 64, 2, 64, 32, 256),
    "B": (12, 64, 2, 64, 16, 256),
    "C": (6, 128, 4, 128, 16, 512),
    "D": (8, 256, 4, 128, 16, 1024),
}
# About 110 million parameters, for the GPU.
LARGE = (12, 768, 12, 256, 16, 16384)
# To see on a CPU that everything runs.
TINY = (2, 16, 2, 8, 4, 32)
# The first loss of any of them is near ln V + 1/8; further away, it is not the same model.
LOSS_MARGIN = 0.3
WARM_UP = 3
LEAST_STEPS = 3
# Steps whose losses are compared between libraries: the last sees the first batch again, after eight updates. And steps that a
# device is given before it is waited for, at most.
EARLY_STEPS = 9
AHEAD = 16
LR, BETA1, BETA2, EPS, WEIGHT_DECAY = 3e-4, 0.9, 0.999, 1e-8, 0.01
LN_EPS = 1e-5
# MKL asks this whether the processor is Intel's, and takes its AVX2 code where it is not.
VENDOR_CHECK = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"


def arguments(description, modes):
    parser = argparse.ArgumentParser(description=description)
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--placement", choices=["pre-ln", "post-ln"], default="pre-ln")
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--mkl-avx512", action="store_true", help="make MKL take AVX-512 on a processor of another vendor")
    args = parser.parse_args()
    if args.width % args.heads:
        parser.error(f"--width {args.width} is not divisible by --heads {args.heads}")
    return args


def gpu_arguments(description, modes):
    """The words of the GPU's scripts: a shape and a cohort, or the size of a product. `--device cpu` shows that they run."""
    parser = argparse.ArgumentParser(description=description)
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--cohort", type=int, default=1)
    parser.add_argument("--size", type=int)
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--math", choices=["f32", "tf32", "bf16"], default="f32", help="of matrix products; sums are f32")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to see that it runs, not how fast")
    parser.add_argument("--turns", action="store_true", help="measure once for each line of standard input")
    args = parser.parse_args()
    args.placement, args.mkl_avx512 = "pre-ln", False
    if args.mode != "product" and None in (args.layers, args.width, args.heads, args.seq, args.batch, args.vocab):
        parser.error("a step needs --layers, --width, --heads, --seq, --batch and --vocab")
    return args


def absent(why):
    """Ends the process where a library or its GPU is not there."""
    print(why, file=sys.stderr)
    sys.exit(3)


def prepare(args):
    """One thread, and MKL's vendor check answered: both must stand before any library is loaded."""
    wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    wanted["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    wanted["JAX_PLATFORMS"] = "cpu"
    if args.mkl_avx512:
        wanted["LD_PRELOAD"] = str(vendor_library())
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def vendor_library():
    folder = Path(tempfile.gettempdir()) / f"preheat-peers-{os.getuid()}"
    library = folder / "mkl_vendor.so"
    if not library.exists():
        folder.mkdir(exist_ok=True)
        fresh = folder / f"mkl_vendor.{os.getpid()}.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", fresh], input=VENDOR_CHECK, text=True, check=True)
        fresh.rename(library)
    return library


def seeded_runs(args):
    """Initial parameters by name, [R, …], and tokens, [8, 2, R, B, T], as numpy arrays. Run r's follow from r alone, so every
    library and every way of training it starts from the same numbers."""
    import numpy as np

    params, tokens = [], []
    for r in range(args.cohort):
        rng = np.random.default_rng(r + 1)

        def normal(shape, std):
            return np.float32(std) * rng.standard_normal(shape, np.float32)

        params.append(initial(args, normal, lambda shape, value: np.full(shape, value, np.float32)))
        tokens.append(rng.integers(args.vocab, size=(8, 2, args.batch, args.seq)))
    return {name: np.stack([p[name] for p in params]) for name in params[0]}, np.stack(tokens, 2)


def initial(args, normal, constant):
    """The parameters by name; `normal(shape, std)` and `constant(shape, value)` make them."""
    c, f = args.width, 4 * args.width

    def glorot(rows, columns):
        return normal((rows, columns), math.sqrt(2 / (rows + columns)))

    params = {"tok_emb": normal((args.vocab, c), 1.0), "pos_emb": normal((args.seq, c), 0.3)}
    norms = [f"block.{layer}.ln{i}" for layer in range(args.layers) for i in (1, 2)]
    norms += ["final_ln"] if args.placement == "pre-ln" else []
    for name in norms:
        params[f"{name}.gamma"], params[f"{name}.beta"] = constant((c,), 1.0), constant((c,), 0.0)
    for block in (f"block.{layer}" for layer in range(args.layers)):
        params[f"{block}.attn.w_qkv"] = normal((c, 3 * c), math.sqrt(1 / c))
        params[f"{block}.attn.b_qkv"] = constant((3 * c,), 0.0)
        params[f"{block}.attn.w_out"], params[f"{block}.attn.b_out"] = glorot(c, c), constant((c,), 0.0)
        params[f"{block}.ffn.w_in"], params[f"{block}.ffn.b_in"] = glorot(c, f), constant((f,), 0.0)
        params[f"{block}.ffn.w_out"], params[f"{block}.ffn.b_out"] = glorot(f, c), constant((c,), 0.0)
    params["head.w"] = normal((c, args.vocab), 0.5 / math.sqrt(c))
    return params


def logits(args, p, tokens, ops):
    """The forward pass; `ops` has `linear`, `layer_norm`, `gelu` and `attention` of one library."""

    def norm(name, x):
        return ops.layer_norm(x, p[f"{name}.gamma"], p[f"{name}.beta"])

    def attend(block, x):
        qkv = ops.linear(x, p[f"{block}.attn.w_qkv"], p[f"{block}.attn.b_qkv"])
        mixed = ops.attention(qkv.reshape(*x.shape[:2], 3, args.heads, args.width // args.heads))
        return ops.linear(mixed.reshape(x.shape), p[f"{block}.attn.w_out"], p[f"{block}.attn.b_out"])

    def feed_forward(block, x):
        hidden = ops.gelu(ops.linear(x, p[f"{block}.ffn.w_in"], p[f"{block}.ffn.b_in"]))
        return ops.linear(hidden, p[f"{block}.ffn.w_out"], p[f"{block}.ffn.b_out"])

    x = p["tok_emb"][tokens] + p["pos_emb"]
    for block in (f"block.{layer}" for layer in range(args.layers)):
        if args.placement == "pre-ln":
            x = x + attend(block, norm(f"{block}.ln1", x))
            x = x + feed_forward(block, norm(f"{block}.ln2", x))
        else:
            x = norm(f"{block}.ln1", x + attend(block, x))
            x = norm(f"{block}.ln2", x + feed_forward(block, x))
    return ops.linear(norm("final_ln", x) if args.placement == "pre-ln" else x, p["head.w"], None)


def measure(args, peer, versions, step):
    """Times `step(index)`, which trains one step to its end and returns the loss, and prints one JSON line."""
    first_loss = step(0)
    for index in range(1, WARM_UP):
        step(index)
    walls, cores = [], []
    started = time.perf_counter()
    while len(walls) < LEAST_STEPS or time.perf_counter() - started < args.seconds:
        wall, core = time.perf_counter(), time.process_time()
        step(WARM_UP + len(walls))
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    print(json.dumps(report(args, peer, versions, walls, cores, len(walls), first_loss)))


def report(args, peer, versions, walls, cores, steps, first_loss):
    median_s = statistics.median(walls)
    return {
        "peer": peer,
        "mkl_avx512": args.mkl_avx512,
        "versions": versions,
        "steps": steps,
        "median_ms": 1e3 * median_s,
        "cpu_ms": 1e3 * statistics.median(cores),
        "tokens_per_s": getattr(args, "cohort", 1) * (args.batch or 0) * (args.seq or 0) / median_s,
        "first_loss": first_loss,
    }


def measure_ahead(args, peer, versions, step, wait, notes=()):
    """Times `step(index)`, which gives one step to the device and returns its losses there; `wait(losses)` waits until the
    device is done and returns them as floats. Steps are given in stretches, as ours are, and each ends with a wait.
    Prints one JSON line, or with --turns one for each line of standard input."""
    early = [wait(step(index)) for index in range(EARLY_STEPS)]
    started, index = time.perf_counter(), EARLY_STEPS
    wait(step(index))
    # Of a slow step fewer make a stretch: what a wait costs is little then.
    ahead = max(1, min(AHEAD, int(0.2 / max(time.perf_counter() - started, 1e-9))))
    index += 1
    for _ in sys.stdin if args.turns else [None]:
        walls, cores, begun = [], [], time.perf_counter()
        while len(walls) < LEAST_STEPS or time.perf_counter() - begun < args.seconds:
            wall, core = time.perf_counter(), time.process_time()
            for _ in range(ahead):
                losses = step(index)
                index += 1
            wait(losses)
            walls.append((time.perf_counter() - wall) / ahead)
            cores.append((time.process_time() - core) / ahead)
        done = report(args, peer, versions, walls, cores, ahead * len(walls), early[0][0] if early[0] else None)
        done |= {"early_losses": early, "ahead": ahead, "notes": sorted(set(notes))}
        print(json.dumps(done), flush=True)
