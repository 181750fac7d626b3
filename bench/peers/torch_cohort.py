#!/usr/bin/env python3
"""Times a cohort's training step in PyTorch on a GPU: runs stacked by torch.func.vmap, AdamW written out; or runs one by one; or one
square product. --math says how products are computed: bf16 is autocast, with parameters in f32."""

import common

ARGS = common.gpu_arguments(__doc__, ["eager", "compile", "alone", "product"])

try:
    import torch
    import torch_model
except ImportError as why:
    common.absent(f"torch: {why}")
if not torch.cuda.is_available():
    common.absent("torch: sees no GPU")

VERSIONS = {"torch": torch.__version__, "torch's CUDA": torch.version.cuda}
torch.backends.cuda.matmul.allow_tf32 = ARGS.math == "tf32"
torch.set_default_device("cuda")


def stacked_step():
    torch.manual_seed(1)

    def normal(shape, std):
        return std * torch.randn((ARGS.cohort, *shape))

    def constant(shape, value):
        return torch.full((ARGS.cohort, *shape), value)

    params = common.initial(ARGS, normal, constant)
    first = {name: torch.zeros_like(p) for name, p in params.items()}
    second = {name: torch.zeros_like(p) for name, p in params.items()}
    batches = torch.randint(ARGS.vocab, (8, 2, ARGS.cohort, ARGS.batch, ARGS.seq))

    def loss_of(params, inputs, targets):
        with torch.autocast("cuda", torch.bfloat16, enabled=ARGS.math == "bf16"):
            return torch_model.loss_of(ARGS, params, inputs, targets)

    both = torch.func.vmap(torch.func.grad_and_value(loss_of))

    def update(params, first, second, rate, correction, inputs, targets):
        grads, losses = both(params, inputs, targets)
        for name, g in grads.items():
            first[name].lerp_(g, 1 - common.BETA1)
            second[name].mul_(common.BETA2).addcmul_(g, g, value=1 - common.BETA2)
            params[name].mul_(1 - common.LR * common.WEIGHT_DECAY)
            params[name].sub_(rate * first[name] / (second[name].sqrt() / correction + common.EPS))
        return losses

    if ARGS.mode == "compile":
        update = torch.compile(update)

    def step(index):
        inputs, targets = batches[index % len(batches)]
        t = index + 1
        # Tensors, so that a compiled step is not compiled again for each number.
        rate = torch.tensor(common.LR / (1 - common.BETA1**t))
        correction = torch.tensor((1 - common.BETA2**t) ** 0.5)
        return update(params, first, second, rate, correction, inputs, targets)[0].item()

    return step


def alone_step():
    """The runs one after the other, as without any of this."""
    steps = []
    runs, ARGS.cohort = ARGS.cohort, 1
    for _ in range(runs):
        steps.append(stacked_step())
    ARGS.cohort = runs

    def step(index):
        return [one(index) for one in steps][0]

    return step


def product_step():
    a, b = torch.randn(ARGS.size, ARGS.size), torch.randn(ARGS.size, ARGS.size)

    def step(_):
        a @ b
        torch.cuda.synchronize()
        return 0.0

    return step


common.measure(ARGS, f"torch {ARGS.mode}", VERSIONS, {"product": product_step, "alone": alone_step}.get(ARGS.mode, stacked_step)())
