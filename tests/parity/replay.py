"""Replays exported runs in PyTorch and compares with what Preheat computed. README.md describes the limits.

    cargo xtask export RUN --out DIR
    python replay.py DIR...

Needs PyTorch, numpy and safetensors. Computes in f32 on the CPU, with PyTorch's own operations and optimizers, those that it
lacks from their formulas (optimizers.py), and with schedules written from their definitions; of the recipe it takes names and coefficients, no intermediate number.

Exit code: 0 within the limits, 1 above one of them, 2 where a folder is no whole export or cannot be replayed.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import optimizers
from certified import Certified
from model import Transformer, clip, relative

FORMAT = 1
# Losses to step EARLY have the first limit, to step LATE the second; later ones are shown only.
EARLY, LATE = 20, 100
LR_TOLERANCE = 1e-12


class Unfit(Exception):
    """Why a folder cannot be replayed."""


@dataclasses.dataclass
class Export:
    """The files of a folder."""

    recipe: dict
    expected: dict
    params: dict
    tokens: dict
    gradients: dict
    final: dict
    optimizer: dict

    @property
    def steps(self):
        return self.recipe["steps"]

    @property
    def train(self):
        return self.recipe["definition"]["recipe"]["train"]

    def section(self, name):
        """Registered name and parameters of a section of the recipe."""
        spec = self.recipe["definition"]["recipe"][name]
        return spec["name"], spec["params"]


def read(folder):
    try:
        json_of = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("recipe", "expected")}
        tensors, origins = {}, {name: origin(x) for name, x in json_of.items()}
        start = json_of["recipe"]["definition"]["start"]
        keeps_state = start != "fresh" and start["checkpoint"]["optimizer_state"]
        tensors["optimizer"] = {}
        for name in ("params", "tokens", "gradients", "final", *(["optimizer"] if keeps_state else [])):
            path = folder / f"{name}.safetensors"
            with safe_open(path, framework="pt") as file:
                origins[name] = origin(json.loads((file.metadata() or {}).get("preheat", "{}")))
            tensors[name] = load_file(path)
    except (OSError, ValueError, KeyError) as e:
        raise Unfit(f"no whole export: {e}") from e
    if set(origins.values()) != {origins["recipe"]}:
        raise Unfit(f"files of several exports: {origins}")
    if json_of["recipe"].get("preheat_export") != FORMAT:
        raise Unfit(f"layout {json_of['recipe'].get('preheat_export')}; this script reads {FORMAT}")
    return Export(**json_of, **tensors)


def origin(x):
    return tuple(x.get(key) for key in ("preheat_export", "run", "steps", "numerics", "preheat"))


def only(name, params, known):
    """A parameter that this script does not know could change a number."""
    strange = sorted(params.keys() - set(known))
    if strange:
        raise Unfit(f"{name} has parameters that are not replayed: {', '.join(strange)}")


def model_of(export):
    name, x = export.section("model")
    if name == "certified":
        return certified(x)
    if name != "transformer":
        raise Unfit(f"model {name} is not replayed; transformer and certified are")
    # Sizes and initial values stand in the parameters themselves.
    sizes = ("width", "ffn_ratio", "uniform_attention", "embedding_std", "position_std", "head_std")
    graph = ("layers", "heads", "norm", "activation", "positions", "tied", "attention", "out_projection", "dropout")
    only(name, x, sizes + graph)
    if x["dropout"] != 0:
        raise Unfit("dropout is not replayed: its masks are Preheat's own random numbers")
    return Transformer(
        x["layers"],
        x["heads"],
        x["norm"],
        x["activation"],
        x["positions"],
        x["tied"],
        x["attention"] == "causal",
        x["out_projection"],
    )


def certified(x):
    # Initial values and batch norm stand in the parameters themselves.
    graph = [field.name for field in dataclasses.fields(Certified) if field.name != "running"]
    only("certified", x, ("conv_channels", "width", "init", "batch_norm", *graph))
    return Certified(**{name: x[name] for name in graph})


def optimizer_of(export, params):
    name, x = export.section("optimizer")
    if name not in optimizers.KNOWN:
        raise Unfit(f"optimizer {name} is not replayed; {', '.join(optimizers.KNOWN)} are")
    only(name, x, optimizers.KNOWN[name])
    hidden = {k for k, tensor in params.items() if k.startswith("block.") and tensor.dim() == 2}
    return optimizers.optimizer(name, x, params, hidden)


def take_state(export, optimizer, params):
    """The state of the run that this one goes on from, and its count of steps."""
    if export.optimizer:
        taken = optimizers.take_state(optimizer, params, export.optimizer, export.recipe["optimizer_steps"])
        left = sorted(export.optimizer.keys() - taken)
        if left:
            raise Unfit(f"states of the optimizer that are not replayed: {', '.join(left)}")


def schedule_of(export):
    """The learning rate as a function of the step, counted from 1."""
    name, x = export.section("schedule")
    if name == "cosine-floor":
        return cosine_floor(x)
    last, peak, warmup = export.train["steps"], x["peak_lr"], x["warmup_steps"]

    def share(t):
        """How much of the decay is done."""
        begin = x["decay_from"] or warmup
        return min(max(t - begin, 0) / (last - begin), 1.0) if last > begin else 0.0

    def inverse_sqrt(t):
        scale = x["timescale"] or max(warmup, 1)
        return math.sqrt(scale / max(t, scale))

    decays = {
        "constant": ((), lambda t: 1.0),
        "linear": (("decay_from",), lambda t: 1.0 - share(t)),
        "cosine": (
            ("decay_from", "min_ratio"),
            lambda t: x["min_ratio"] + (1.0 - x["min_ratio"]) * (1.0 + math.cos(math.pi * share(t))) / 2.0,
        ),
        "inverse-sqrt": (("timescale",), inverse_sqrt),
        "step": (
            ("factor", "at", "then_at"),
            lambda t: x["factor"] ** sum(t > fraction * last for fraction in (x["at"], x["then_at"])),
        ),
    }
    if name not in decays:
        raise Unfit(f"schedule {name} is not replayed; {', '.join(decays)}, cosine-floor are")
    own, decay = decays[name]
    only(name, x, ("peak_lr", "warmup_steps", *own))
    return lambda t: peak * (t / warmup if t <= warmup else decay(t))


def cosine_floor(x):
    only("cosine-floor", x, ("peak_lr", "horizon", "warmup", "decay", "min_ratio"))
    peak, floor = x["peak_lr"], x["peak_lr"] * x["min_ratio"]
    begin, end = x["warmup"] * x["horizon"], x["decay"] * x["horizon"]

    def rate(t):
        if t <= begin:
            return peak * t / begin
        return floor + (peak - floor) * (1.0 + math.cos(math.pi * (min(t, end) - begin) / (end - begin))) / 2.0

    return rate


@dataclasses.dataclass
class Replayed:
    """What PyTorch computed."""

    losses: list
    lrs: list
    gradients: dict
    final: dict
    eval_loss: float


def replay(export, dtype):
    model, schedule = model_of(export), schedule_of(export)
    only("train", export.train, ("steps", "batch", "eval_every", "eval_sequences", "clip", "label_smoothing", "probe"))
    smoothing, batch = export.train["label_smoothing"], export.train["batch"]
    params = {k: x.to(dtype, copy=True).requires_grad_() for k, x in export.params.items()}
    optimizer = optimizer_of(export, params)
    take_state(export, optimizer, params)
    tokens = {k: x.long() for k, x in export.tokens.items()}

    def differentiate(inputs, targets, step):
        optimizer.zero_grad()
        loss = model.loss(params, inputs, targets, smoothing, step)
        loss.backward()
        unused = [k for k, x in params.items() if x.grad is None]
        if unused:
            raise Unfit(f"parameters that the model does not use: {', '.join(unused)}")
        return loss.item(), {k: x.grad.clone() for k, x in params.items()}

    done = Replayed([], [], {}, {}, math.nan)
    if export.steps == 0:
        _, done.gradients = differentiate(tokens["eval.inputs"][:batch], tokens["eval.targets"][:batch], 1)
    # A diverged run ends before the last step of the export.
    for step in range(1, len(export.expected["train_loss"]) + 1):
        loss, gradients = differentiate(tokens["inputs"][step - 1], tokens["targets"][step - 1], step)
        done.gradients = done.gradients or gradients
        done.losses.append(loss)
        done.lrs.append(schedule(step))
        optimizer.param_groups[0]["lr"] = done.lrs[-1]
        if export.train["clip"] > 0:
            clip(params, export.train["clip"])
        optimizer.step()
    done.final = {k: x.detach() for k, x in params.items()}
    with torch.no_grad():
        pairs = zip(tokens["eval.inputs"].split(batch), tokens["eval.targets"].split(batch))
        losses = [model.loss(params, inputs, targets, 0.0).item() for inputs, targets in pairs]
    done.eval_loss = sum(losses) / len(losses)
    return done


def apart(ours, theirs):
    """The relative deviation of two numbers; a number that is not finite is null in the export."""
    if ours is None or not math.isfinite(theirs):
        return 0.0 if ours is None and not math.isfinite(theirs) else math.inf
    return abs(ours - theirs) / abs(theirs) if theirs else abs(ours)


def worst(deviations):
    """The largest of (deviation, place); what is not a number counts as the largest."""
    return max(deviations, key=lambda x: math.inf if math.isnan(x[0]) else x[0], default=(0.0, "nothing to compare"))


def tensors_apart(ours, theirs):
    if ours.keys() != theirs.keys():
        raise Unfit(f"other tensors than the parameters: {sorted(ours.keys() ^ theirs.keys())}")
    return worst((relative(ours[name], theirs[name]), name) for name in ours)


def compare(export, done, limits, exact):
    """(what, deviation, place, limit or None) of everything that is compared. `exact` is PyTorch's own f64, or None."""
    rows = []
    expected, trained = export.expected["train_loss"], len(done.losses)
    for first, last, limit in ((1, EARLY, limits.loss[0]), (EARLY + 1, LATE, limits.loss[1]), (LATE + 1, None, None)):
        part = slice(first - 1, last)
        pairs = list(zip(expected[part], done.losses[part]))
        if pairs:
            found = worst((apart(*pair), f"step {first + i}") for i, pair in enumerate(pairs))
            stray = exact and max(apart(*pair) for pair in zip(exact.losses[part], done.losses[part]))
            rows.append((f"losses, steps {first} to {first + len(pairs) - 1}", *found, widened(limit, stray)))
    limit = limits.loss[0] if trained <= EARLY else limits.loss[1] if trained <= LATE else None
    stray = exact and apart(exact.eval_loss, done.eval_loss)
    found = apart(export.expected["eval_loss"], done.eval_loss)
    rows.append(("evaluation loss", found, f"after step {trained}", widened(limit, stray)))
    rates = ((apart(host["lr"], lr), f"step {host['step']}") for host, lr in zip(export.recipe["host"], done.lrs))
    rows.append(("learning rates", *worst(rates), LR_TOLERANCE))
    place = f"gradients, {export.recipe['gradients_of']}"
    found, tensor = tensors_apart(export.gradients, done.gradients)
    stray = exact and relative(done.gradients[tensor], exact.gradients[tensor])
    rows.append((place, found, tensor, widened(limits.gradient, stray)))
    rows.append(("final parameters", *tensors_apart(export.final, done.final), limits.final))
    return rows


def widened(limit, stray):
    """Two programs in f32 that each stray this far from f64 may be twice as far from each other."""
    return limit if stray is None else max(limit or 0.0, 2.0 * stray)


def noise(exact, done):
    """How far PyTorch's f32 lies from its own f64, in the same words as `compare`."""
    losses = worst((apart(*pair), f"step {i}") for i, pair in enumerate(zip(exact.losses, done.losses), 1))
    return [
        ("PyTorch's own f32 - f64: losses", *losses, None),
        ("PyTorch's own f32 - f64: gradients", *tensors_apart(done.gradients, exact.gradients), None),
        ("PyTorch's own f32 - f64: parameters", *tensors_apart(done.final, exact.final), None),
    ]


def report(folder, limits):
    """Whether everything is within its limit."""
    export = read(folder)
    done = replay(export, torch.float32)
    exact = replay(export, torch.float64) if limits.noise else None
    rows = compare(export, done, limits, exact)
    print(f"{folder}: {export.recipe['cells'][0] if export.recipe['cells'] else export.recipe['run']}")
    for what, deviation, place, limit in rows + (noise(exact, done) if exact else []):
        verdict = "" if limit is None else f"  limit {limit:.1e}" + ("" if deviation <= limit else "  ABOVE")
        print(f"  {what:40} {deviation:.2e}  {place}{verdict}")
    within = all(limit is None or deviation <= limit for _, deviation, _, limit in rows)
    if not (within or exact):
        print("  above a limit; --noise tells whether PyTorch's f32 strays as far from its own f64")
    return within


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="DIR", nargs="+", type=pathlib.Path)
    parser.add_argument(
        "--loss-tolerance",
        dest="loss",
        metavar=("EARLY", "LATE"),
        nargs=2,
        type=float,
        default=(1e-5, 1e-4),
        help=f"relative, to step {EARLY} and to step {LATE} (1e-5, 1e-4)",
    )
    parser.add_argument(
        "--gradient-tolerance",
        dest="gradient",
        metavar="X",
        type=float,
        default=1e-5,
        help="relative to each tensor's norm (1e-5)",
    )
    parser.add_argument(
        "--final-tolerance",
        dest="final",
        metavar="X",
        type=float,
        help="relative to each tensor's norm; shown only where it is not given",
    )
    parser.add_argument("--noise", action="store_true", help="also replay in f64, and widen limits to twice what PyTorch's f32 strays from it")
    limits = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    code = 0
    for folder in limits.folders:
        try:
            code = max(code, int(not report(folder, limits)))
        except Unfit as e:
            print(f"{folder}: {e}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
