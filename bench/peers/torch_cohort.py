#!/usr/bin/env python3
"""Times a cohort's training step in PyTorch on a GPU, or one square product. --mode:

eager, compile, graph: the runs stacked by torch.func.vmap, AdamW written out; as it is, compiled, and the compiled step as one CUDA
graph. alone, alone-compile: the runs one after the other, with fused AdamW, as without any of this. product: A·B.

--math says how products are computed: bf16 is autocast, with parameters in f32."""

import warnings

import common

ARGS = common.gpu_arguments(__doc__, ["eager", "compile", "graph", "alone", "alone-compile", "product"])

try:
    import torch
    import torch_model
except ImportError as why:
    common.absent(f"torch: {why}")
if ARGS.device == "cuda" and not torch.cuda.is_available():
    common.absent("torch: sees no GPU")
if ARGS.device == "cpu" and ARGS.mode == "graph":
    common.absent("torch graph: a CPU has no CUDA graphs")

VERSIONS = {"torch": torch.__version__, "torch's CUDA": torch.version.cuda or "none"}
torch.backends.cuda.matmul.allow_tf32 = ARGS.math == "tf32"
torch.set_default_device(ARGS.device)


class Stacked(torch_model.Ops):
    """The model's ops as they batch best: a linear layer of all tokens of a run is one matrix of a batched product."""

    @staticmethod
    def linear(x, w, b):
        flat = x.reshape(-1, x.shape[-1]) @ w
        return (flat if b is None else flat + b).reshape(*x.shape[:-1], w.shape[-1])

    @staticmethod
    def attention(qkv):
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        hidden = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
        return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v).transpose(1, 2)


def loss_of(params, inputs, targets, ops):
    with torch.autocast(ARGS.device, torch.bfloat16, enabled=ARGS.math == "bf16"):
        return torch_model.loss_of(ARGS, params, inputs, targets, ops)


def seeded():
    params, tokens = common.seeded_runs(ARGS)
    return {name: torch.tensor(p) for name, p in params.items()}, torch.tensor(tokens)


def corrections(index):
    """The step's two numbers, as tensors, so that a compiled step is not compiled again for each."""
    t = index + 1
    rate, correction = common.LR / (1 - common.BETA1**t), (1 - common.BETA2**t) ** 0.5
    return torch.tensor(rate), torch.tensor(correction)


def stacked_step():
    params, batches = seeded()
    first = {name: torch.zeros_like(p) for name, p in params.items()}
    second = {name: torch.zeros_like(p) for name, p in params.items()}
    both = torch.func.vmap(torch.func.grad_and_value(lambda *of: loss_of(*of, Stacked)))

    def update(rate, correction, inputs, targets):
        grads, losses = both(params, inputs, targets)
        for name, g in grads.items():
            first[name].lerp_(g, 1 - common.BETA1)
            second[name].mul_(common.BETA2).addcmul_(g, g, value=1 - common.BETA2)
            params[name].mul_(1 - common.LR * common.WEIGHT_DECAY)
            params[name].sub_(rate * first[name] / (second[name].sqrt() / correction + common.EPS))
        return losses

    if ARGS.mode != "eager":
        update = torch.compile(update)
    if ARGS.mode == "graph":
        update = recorded(update, [params, first, second], batches)

    def step(index):
        inputs, targets = batches[index % len(batches)]
        return update(*corrections(index), inputs, targets)

    return step


def recorded(update, states, batches):
    """`update` as one CUDA graph, which reads its inputs from tensors of its own."""
    own = [*corrections(0), *(tokens.clone() for tokens in batches[0])]
    before = [{name: x.clone() for name, x in state.items()} for state in states]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            update(*own)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = update(*own)
    # What the steps to get there changed.
    for state, was in zip(states, before):
        for name, x in state.items():
            x.copy_(was[name])

    def replay(*inputs):
        for mine, given in zip(own, inputs):
            mine.copy_(given)
        graph.replay()
        return losses

    return replay


def alone_step():
    """Each run with its own parameters and optimizer."""
    params, batches = seeded()
    betas = (common.BETA1, common.BETA2)
    of_run = torch.compile(loss_of) if ARGS.mode == "alone-compile" else loss_of
    runs = []
    for r in range(ARGS.cohort):
        own = {name: p[r].clone().requires_grad_() for name, p in params.items()}
        optimizer = torch.optim.AdamW(
            own.values(), lr=common.LR, betas=betas, eps=common.EPS, weight_decay=common.WEIGHT_DECAY, fused=True
        )
        runs.append((own, optimizer))

    def step(index):
        losses = []
        for r, (own, optimizer) in enumerate(runs):
            optimizer.zero_grad(set_to_none=True)
            loss = of_run(own, *batches[index % len(batches)][:, r], torch_model.Ops)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return losses

    return step


def product_step():
    a, b = torch.randn(ARGS.size, ARGS.size), torch.randn(ARGS.size, ARGS.size)

    def step(_):
        a @ b
        return []

    return step


def wait(losses):
    if ARGS.device == "cuda":
        torch.cuda.synchronize()
    return [float(loss) for loss in losses]


def main():
    make = {"product": product_step, "alone": alone_step, "alone-compile": alone_step}.get(ARGS.mode, stacked_step)
    notes = []
    with warnings.catch_warnings():
        # An op that vmap computes run by run is no batch: the report says so.
        warnings.filterwarnings("always", message=".*performance drop.*")
        warnings.showwarning = lambda message, *_: notes.append(str(message).splitlines()[0][:160])
        common.measure_ahead(ARGS, f"torch {ARGS.mode}", VERSIONS, make(), wait, notes)


main()
