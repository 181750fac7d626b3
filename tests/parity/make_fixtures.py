"""Records what PyTorch computes, for the parity tests. README.md in this folder describes the files.

    python make_fixtures.py            writes fixtures/*.safetensors
    python make_fixtures.py --check    computes again and compares with the files

Needs PyTorch and numpy, nothing else; the model stands in model.py, optimizers in optimizers.py. Runs on one CPU thread in a few seconds. The
versions that made a file stand in its metadata.
"""

import argparse
import json
import pathlib
import platform
import sys

import numpy as np
import torch

import optimizers as formulas
from certified import Certified, worst_margins_by_ends
from model import LN_EPS, Transformer, clip

FIXTURES = pathlib.Path(__file__).parent / "fixtures"

# Shapes: B sequences, T tokens a sequence, C width, H heads, F feed-forward width, L layers, V vocabulary.
# T and V are odd primes: no multiple of any vector width.
SHAPE = {"layers": 2, "width": 24, "heads": 3, "ffn_width": 96, "seq": 19, "vocab": 67, "batch": 5}
TRAIN = {
    "steps": 100,
    "batches": 8,
    "peak_lr": 1e-3,
    "warmup_steps": 10,
    "beta1": 0.9,
    "beta2": 0.98,
    "eps": 1e-8,
    "clip": 1.0,
}
MODELS = {
    "post_ln_relu": {"norm": "post-ln", "activation": "relu", "label_smoothing": 0.0, "seed": 1},
    "post_ln_gelu_smoothed": {"norm": "post-ln", "activation": "gelu-tanh", "label_smoothing": 0.1, "seed": 2},
    "pre_ln_gelu": {"norm": "pre-ln", "activation": "gelu-tanh", "label_smoothing": 0.0, "seed": 3},
    "pre_ln_relu_smoothed": {"norm": "pre-ln", "activation": "relu", "label_smoothing": 0.1, "seed": 4},
    "pre_ln_swiglu": {"norm": "pre-ln", "activation": "swiglu", "ffn_width": 64, "label_smoothing": 0.0, "seed": 7},
}
# Images of 7 x 7 pixels, 5 classes. Steps 1 to 3 are at eps 0; the loss is regularised to step 15.
IMAGES = {"side": 7, "classes": 5, "batch": 6, "batches": 8, "steps": 30, "peak_lr": 2e-3, "warmup_steps": 1}
IMAGES |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "clip": 10.0, "conv_channels": 3, "width": 11, "label_smoothing": 0.0}
BOUNDS = {"channels": 1, "lambda0": 0.5, "tau": 0.5, "eps": 0.0625, "clean_steps": 3, "eps_warmup_steps": 12}
CERTIFIED = {
    "certified_plain": {"conv_layers": 0, "layers": 3, "norm": "none", "tightness": False, "relu_balance": False, "seed": 8},
    "certified_all": {"conv_layers": 0, "layers": 3, "norm": "full", "tightness": True, "relu_balance": True, "seed": 9},
    "certified_conv": {"conv_layers": 3, "layers": 1, "norm": "conv", "tightness": True, "relu_balance": True, "seed": 10},
    "certified_linear": {"conv_layers": 0, "layers": 3, "norm": "full", "tightness": True, "relu_balance": True, "bounds": "crown-ibp", "seed": 11},
}
UPDATES = {
    "elements": 97,
    "steps": 50,
    "seed": 5,
    "peak_lr": 1e-2,
    "warmup_steps": 10,
    "sgd": {"momentum": 0.9},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
    "adamw": {"beta1": 0.9, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.1},
}


def warmup_then_constant(step, peak_lr, warmup_steps):
    """The learning rate of `step`, counted from 1."""
    return peak_lr * min(1.0, step / warmup_steps)


def initial_parameters(spec, rng):
    """Float32 tensors by name. No bias is zero and no gain is one, so that every path has a gradient."""
    c, v, t = SHAPE["width"], SHAPE["vocab"], SHAPE["seq"]
    f, gated = spec.get("ffn_width", SHAPE["ffn_width"]), spec["activation"] == "swiglu"

    def normal(std, *shape, mean=0.0):
        return (mean + std * rng.standard_normal(shape)).astype(np.float32)

    params = {"tok_emb": normal(1.0, v, c), "pos_emb": normal(0.3, t, c)}
    for layer in range(SHAPE["layers"]):
        for name in ("ln1", "ln2"):
            params[f"block.{layer}.{name}.gamma"] = normal(0.1, c, mean=1.0)
            params[f"block.{layer}.{name}.beta"] = normal(0.1, c)
        for name, fan_in, fan_out in (
            ("attn.{}_qkv", c, 3 * c),
            ("attn.{}_out", c, c),
            *([("ffn.{}_gate", c, f)] if gated else []),
            ("ffn.{}_in", c, f),
            ("ffn.{}_out", f, c),
        ):
            params[f"block.{layer}." + name.format("w")] = normal(fan_in**-0.5, fan_in, fan_out)
            if not (gated and name.startswith("ffn")):
                params[f"block.{layer}." + name.format("b")] = normal(0.05, fan_out)
    if spec["norm"] == "pre-ln":
        params["final_ln.gamma"] = normal(0.1, c, mean=1.0)
        params["final_ln.beta"] = normal(0.1, c)
    params["head.w"] = normal(c**-0.5, c, v)
    return params


def token_batches(rng):
    """Tokens [batches, B, T+1]: mostly a fixed successor of the last token, so that there is something to learn."""
    shape = (TRAIN["batches"], SHAPE["batch"], SHAPE["seq"] + 1)
    tokens = rng.integers(0, SHAPE["vocab"], shape, dtype=np.uint32)
    follows = rng.random(shape) < 0.7
    for i in range(1, shape[2]):
        successor = (3 * tokens[..., i - 1] + 7) % SHAPE["vocab"]
        tokens[..., i] = np.where(follows[..., i], successor, tokens[..., i])
    return tokens


def transformer(spec):
    return Transformer(SHAPE["layers"], SHAPE["heads"], spec["norm"], spec["activation"])


def train(initial, tokens, spec, dtype):
    """(losses [steps], gradient norms before clipping [steps], gradients of step 1 before clipping)."""
    params = {k: torch.tensor(x, dtype=dtype, requires_grad=True) for k, x in initial.items()}
    batches = torch.tensor(tokens.astype(np.int64))
    model = transformer(spec)
    adam = torch.optim.Adam(
        params.values(), betas=(TRAIN["beta1"], TRAIN["beta2"]), eps=TRAIN["eps"], foreach=False, fused=False
    )
    losses, norms, first = [], [], None
    for step in range(1, TRAIN["steps"] + 1):
        batch = batches[(step - 1) % TRAIN["batches"]]
        adam.param_groups[0]["lr"] = warmup_then_constant(step, TRAIN["peak_lr"], TRAIN["warmup_steps"])
        adam.zero_grad()
        loss = model.loss(params, batch[:, :-1], batch[:, 1:], spec["label_smoothing"])
        loss.backward()
        if first is None:
            first = {k: x.grad.numpy().copy() for k, x in params.items()}
        losses.append(loss.item())
        norms.append(clip(params, TRAIN["clip"]))
        adam.step()
    return np.array(losses), np.array(norms), first


def model_fixture(spec):
    rng = np.random.Generator(np.random.PCG64(spec["seed"]))
    initial = initial_parameters(spec, rng)
    tokens = token_batches(rng)
    losses, norms, grads = train(initial, tokens, spec, torch.float32)
    losses64, _, grads64 = train(initial, tokens, spec, torch.float64)
    tensors = {f"param.{k}": x for k, x in initial.items()}
    tensors |= {f"grad.{k}": x for k, x in grads.items()}
    tensors["inputs"] = np.ascontiguousarray(tokens[..., :-1])
    tensors["targets"] = np.ascontiguousarray(tokens[..., 1:])
    tensors["losses.f32"] = losses.astype(np.float32)
    tensors["losses.f64"] = losses64
    tensors["grad_norms.f32"] = norms.astype(np.float32)
    report = {
        "loss first, last": [losses[0], losses[-1]],
        "clipped steps": int((norms > TRAIN["clip"]).sum()),
        "f32 - f64, losses to step 20": float(np.max(np.abs(losses - losses64)[:20] / losses64[:20])),
        "f32 - f64, losses to step 100": float(np.max(np.abs(losses - losses64) / losses64)),
        "f32 - f64, gradients": max(relative(grads[k], grads64[k]) for k in grads),
    }
    return tensors, {"recipe": SHAPE | TRAIN | spec | {"ln_eps": LN_EPS}}, report


def relative(a, b):
    """||a - b|| / ||b|| of arrays."""
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b))


def optimizers(x):
    sgd, adam, adamw = UPDATES["sgd"], UPDATES["adam"], UPDATES["adamw"]
    one_by_one = {"foreach": False, "fused": False}
    return {
        "sgd": lambda: torch.optim.SGD([x], momentum=sgd["momentum"], **one_by_one),
        "adam": lambda: torch.optim.Adam([x], betas=(adam["beta1"], adam["beta2"]), eps=adam["eps"], **one_by_one),
        "adamw": lambda: torch.optim.AdamW(
            [x],
            betas=(adamw["beta1"], adamw["beta2"]),
            eps=adamw["eps"],
            weight_decay=adamw["weight_decay"],
            **one_by_one,
        ),
    }


def trajectory(name, initial, grads, lrs, dtype):
    """The vector after every step [steps, elements]."""
    x = torch.tensor(initial, dtype=dtype, requires_grad=True)
    optimizer = optimizers(x)[name]()
    rows = []
    for grad, lr in zip(grads, lrs):
        optimizer.param_groups[0]["lr"] = float(lr)
        x.grad = torch.tensor(grad, dtype=dtype)
        optimizer.step()
        rows.append(x.detach().numpy().copy())
    return np.stack(rows)


def certified_parameters(spec, rng):
    """Float32 tensors by name, bounds about as wide behind each layer as before it."""
    params, channels, side = {}, BOUNDS["channels"], IMAGES["side"]

    def affine(name, inputs, units, norm=False):
        params[f"{name}.w"] = (2.5 / inputs * rng.standard_normal((inputs, units))).astype(np.float32)
        if not norm:
            params[f"{name}.b"] = (0.05 * rng.standard_normal(units)).astype(np.float32)
        else:
            params[f"{name}.gamma"] = (1.0 + 0.1 * rng.standard_normal(units)).astype(np.float32)
            params[f"{name}.beta"] = (0.1 * rng.standard_normal(units)).astype(np.float32)

    for i in range(spec["conv_layers"]):
        units = IMAGES["conv_channels"] * (1 if i < 2 else 2)
        affine(f"layer.{i}", 9 * channels, units, spec["norm"] != "none")
        channels, side = units, (side + 1) // 2 if i == 2 else side
    inputs = channels * side * side
    for i in range(spec["conv_layers"], spec["conv_layers"] + spec["layers"]):
        affine(f"layer.{i}", inputs, IMAGES["width"], spec["norm"] == "full")
        inputs = IMAGES["width"]
    affine("last", inputs, IMAGES["classes"])
    return params


def certified(spec):
    return Certified(**BOUNDS, **{k: spec[k] for k in ("conv_layers", "layers", "tightness", "relu_balance", "bounds") if k in spec})


def train_certified(initial, images, labels, spec, dtype):
    """(losses [steps], gradients of step 1 and of the first step at the full eps, before clipping, the evaluation's loss)"""
    params = {k: torch.tensor(x, dtype=dtype, requires_grad=True) for k, x in initial.items()}
    images, labels = torch.tensor(images.astype(np.int64)), torch.tensor(labels.astype(np.int64))
    model = certified(spec)
    adam = torch.optim.Adam(
        params.values(), IMAGES["peak_lr"], (IMAGES["beta1"], IMAGES["beta2"]), IMAGES["eps"], foreach=False, fused=False
    )
    losses, kept = [], {}
    for step in range(1, IMAGES["steps"] + 1):
        batch = (step - 1) % IMAGES["batches"]
        adam.zero_grad()
        loss = model.loss(params, images[batch], labels[batch], IMAGES["label_smoothing"], step)
        loss.backward()
        if step in (1, 10):
            kept[step] = {k: x.grad.numpy().copy() for k, x in params.items()}
        losses.append(loss.item())
        clip(params, IMAGES["clip"])
        adam.step()
    with torch.no_grad():
        evaluated = model.loss(params, images[0], labels[0], 0.0).item()
        eps = torch.tensor(BOUNDS["eps"], dtype=dtype)
        inside = model.margins(params, images[0], labels[0], eps, False)[0]
        by_ends = worst_margins_by_ends(model, params, images[0], labels[0], eps, False)
    return np.array(losses), kept, evaluated, (inside - by_ends).abs().max().item()


def certified_fixture(spec):
    rng = np.random.Generator(np.random.PCG64(spec["seed"]))
    initial = certified_parameters(spec, rng)
    shape = (IMAGES["batches"], IMAGES["batch"])
    labels = rng.integers(0, IMAGES["classes"], shape, dtype=np.uint32)
    # A class is bright at its own pixels; some pixels lie at either end.
    bright = rng.random((IMAGES["classes"], IMAGES["side"] ** 2))
    noisy = 2 * bright[labels] - 0.5 + 0.2 * rng.standard_normal((*shape, IMAGES["side"] ** 2))
    images = np.round(255 * np.clip(noisy, 0, 1)).astype(np.uint32)
    losses, grads, evaluated, _ = train_certified(initial, images, labels, spec, torch.float32)
    losses64, grads64, evaluated64, apart = train_certified(initial, images, labels, spec, torch.float64)
    tensors = {f"param.{k}": x for k, x in initial.items()} | {"inputs": images, "targets": labels}
    for step, of_step in grads64.items():
        tensors |= {f"grad.{step}.{k}": x.astype(np.float32) for k, x in of_step.items()}
    tensors |= {"losses.f64": losses64, "evaluated.f64": np.array([evaluated64])}
    report = {
        "loss first, last, evaluated": [losses64[0], losses64[-1], evaluated64],
        "f32 - f64, losses": float(np.max(np.abs(losses - losses64) / np.abs(losses64))),
        "f32 - f64, gradients": max(relative(grads[s][k], grads64[s][k]) for s in grads for k in grads[s]),
        "f32 - f64, evaluated": abs(evaluated - evaluated64) / evaluated64,
        "ends - centre and radius, margins": apart,
    }
    optimizer = {k: IMAGES[k] for k in ("beta1", "beta2", "eps")}
    return tensors, {"recipe": IMAGES | BOUNDS | spec | {"radius": BOUNDS["eps"], "optimizer": optimizer}}, report


def updates_fixture():
    n, steps = UPDATES["elements"], UPDATES["steps"]
    rng = np.random.Generator(np.random.PCG64(UPDATES["seed"]))
    initial = rng.standard_normal(n).astype(np.float32)
    # Magnitudes over six decades, some exact zeros: where eps matters and where it does not.
    scale = 10.0 ** rng.uniform(-5, 1, n)
    grads = (scale * rng.standard_normal((steps, n))).astype(np.float32)
    grads[:, ::13] = 0.0
    lrs = np.array(
        [warmup_then_constant(s, UPDATES["peak_lr"], UPDATES["warmup_steps"]) for s in range(1, steps + 1)]
    )
    tensors = {"initial": initial, "grads": grads, "lr": lrs}
    report = {}
    for name in ("sgd", "adam", "adamw"):
        tensors[f"{name}.params"] = trajectory(name, initial, grads, lrs, torch.float32)
        exact = trajectory(name, initial, grads, lrs, torch.float64)[-1]
        tensors[f"{name}.last.f64"] = exact
        report[f"f32 - f64, {name}"] = relative(tensors[f"{name}.params"][-1], exact)
    return tensors, {"recipe": UPDATES}, report


# 1,000 steps of every optimizer on tensors of several shapes. A hidden matrix is the weight of a linear layer.
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
RADAM = ADAM | {"unrectified_from": 1, "unrectified_steps": 0}
ADAFACTOR = {"beta2_decay": -0.8, "eps1": 1e-7, "eps2": 1e-3, "clip_threshold": 1.0, "weight_decay": 0.1}
MUON = {"momentum": 0.95, "nesterov": True, "scale": "original", "eps": 1e-7, "weight_decay": 0.1}
MUON |= {"adam_lr_ratio": 0.5, "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_eps": 1e-8}
LONG = {
    "steps": 1000,
    "kept": [1, 4, 5, 6, 7, 100, 201, 1000],
    "shapes": {"hidden.wide": [6, 10], "hidden.tall": [11, 5], "table": [7, 3], "vector": [13], "one": [1]},
    "bank": 37,
    "halved_every": 250,
    "seed": 6,
    "peak_lr": 1e-2,
    "warmup_steps": 20,
    "arms": {
        "adam-eps": ["adam", ADAM | {"eps": 1e-4}],
        "radam-paper": ["radam", RADAM | {"weight_decay": 0.1, "variant": "paper"}],
        "radam-code": ["radam", RADAM | {"weight_decay": 0.1, "variant": "code"}],
        "radam-package": ["radam", RADAM | {"weight_decay": 0.1, "variant": "package", "beta2": 0.99}],
        "radam-sgd": ["radam", RADAM | {"variant": "paper", "beta2": 0.6}],
        "radam-skip-4": ["radam", RADAM | {"weight_decay": 0.1, "variant": "four-step"}],
        "radam-adam-4": ["radam", RADAM | {"weight_decay": 0.1, "variant": "four-step", "unrectified_steps": 4}],
        "radam-sgd-adam": ["radam", RADAM | {"variant": "paper", "unrectified_from": 5, "unrectified_steps": 4}],
        "adam-2k": ["adam-2k", ADAM | {"weight_decay": 0.1, "freeze_steps": 200}],
        "gi-adam": ["gi-adam", ADAM | {"weight_decay": 0.1}],
        "lion": ["lion", {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}],
        "lamb": ["lamb", ADAM | {"eps": 1e-6, "weight_decay": 0.01}],
        "novograd": ["novograd", {"beta1": 0.95, "beta2": 0.98, "eps": 1e-8, "weight_decay": 0.001}],
        "adafactor": ["adafactor", ADAFACTOR | {"relative_step": True}],
        "adafactor-absolute": ["adafactor", ADAFACTOR | {"relative_step": False}],
        "muon": ["muon", MUON],
        "muon-match-rms": ["muon", MUON | {"scale": "match-rms", "nesterov": False}],
    },
}


def long_trajectory(name, coefficients, initial, grads, lrs, dtype):
    """All parameters after every step [steps, elements]."""
    sizes = [int(np.prod(shape)) for shape in LONG["shapes"].values()]

    def split(x):
        parts = torch.tensor(x, dtype=dtype).split(sizes)
        return [part.reshape(shape).clone() for part, shape in zip(parts, LONG["shapes"].values())]

    params = {k: x.requires_grad_() for k, x in zip(LONG["shapes"], split(initial))}
    optimizer = formulas.optimizer(name, coefficients, params, {k for k in params if k.startswith("hidden")})
    rows = []
    for grad, lr in zip(grads, lrs):
        optimizer.param_groups[0]["lr"] = float(lr)
        for x, g in zip(params.values(), split(grad)):
            x.grad = g
        optimizer.step()
        rows.append(np.concatenate([x.detach().numpy().ravel().copy() for x in params.values()]))
    return np.stack(rows)


def optimizers_fixture():
    rng = np.random.Generator(np.random.PCG64(LONG["seed"]))
    n = sum(int(np.prod(shape)) for shape in LONG["shapes"].values())
    initial = rng.standard_normal(n).astype(np.float32)
    # Magnitudes over three decades, a mean of their own for each element.
    scale = 10.0 ** rng.uniform(-2, 1, n)
    bank = (scale * (0.3 * rng.standard_normal(n) + rng.standard_normal((LONG["bank"], n)))).astype(np.float32)
    steps = range(LONG["steps"])
    # Halving is exact, so that the bank and the rule are all that a reader needs.
    grads = np.stack([bank[t % LONG["bank"]] * np.float32(0.5 ** (t // LONG["halved_every"])) for t in steps])
    lrs = np.array([warmup_then_constant(t + 1, LONG["peak_lr"], LONG["warmup_steps"]) for t in steps])
    tensors, report = {"initial": initial, "bank": bank}, {}
    kept = [t - 1 for t in LONG["kept"]]
    for arm, (name, coefficients) in LONG["arms"].items():
        exact = long_trajectory(name, coefficients, initial, grads, lrs, torch.float64)
        tensors[f"{arm}.f64"] = exact[kept]
        single = long_trajectory(name, coefficients, initial, grads, lrs, torch.float32)
        report[f"f32 - f64, {arm}"] = max(relative(a, b) for a, b in zip(single, exact))
    return tensors, {"recipe": LONG}, report


DTYPES = {"float32": "F32", "float64": "F64", "uint32": "U32"}


def to_safetensors(tensors, metadata):
    """The safetensors format: u64 length, JSON header, raw little-endian data. Names in order: same bytes each time."""
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
    header = {"__metadata__": {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata | versions).items()}}
    data, offset = [], 0
    # Widest first, so that every tensor lies on a multiple of its own element size.
    for name in sorted(tensors, key=lambda k: (-tensors[k].itemsize, k)):
        x = tensors[name]
        header[name] = {
            "dtype": DTYPES[x.dtype.name],
            "shape": list(x.shape),
            "data_offsets": [offset, offset + x.nbytes],
        }
        data.append(x.astype(x.dtype.newbyteorder("<")).tobytes())
        offset += x.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data)


def from_safetensors(raw):
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    numpy_of = {v: np.dtype(k).newbyteorder("<") for k, v in DTYPES.items()}
    return {
        name: np.frombuffer(data[slice(*x["data_offsets"])], numpy_of[x["dtype"]]).reshape(x["shape"])
        for name, x in header.items()
        if name != "__metadata__"
    }


def differences(old, new):
    """What another machine or version computes differently, beyond rounding."""
    if old.keys() != new.keys():
        return [f"other tensors: {sorted(old.keys() ^ new.keys())}"]
    return [name for name in new if not np.allclose(old[name], new[name], rtol=1e-4, atol=1e-6)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    FIXTURES.mkdir(exist_ok=True)
    stale = False
    made = {name: model_fixture(spec) for name, spec in MODELS.items()} 
    made |= {name: certified_fixture(spec) for name, spec in CERTIFIED.items()}
    made |= {"updates": updates_fixture(), "optimizers": optimizers_fixture()}
    for name, (tensors, metadata, report) in made.items():
        path = FIXTURES / f"{name}.safetensors"
        print(name, json.dumps(report))
        if check:
            wrong = differences(from_safetensors(path.read_bytes()), tensors)
            stale |= bool(wrong)
            print("  differs:" if wrong else "  as recorded", *wrong)
        else:
            path.write_bytes(to_safetensors(tensors, metadata))
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
