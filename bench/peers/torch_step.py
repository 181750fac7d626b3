#!/usr/bin/env python3
"""Times one training step in PyTorch on one thread: eager or torch.compile, SDPA, fused AdamW."""

import common

ARGS = common.arguments(__doc__, ["eager", "compile"])
common.prepare(ARGS)

import torch  # noqa: E402
import torch_model  # noqa: E402


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)

    def normal(shape, std):
        return (std * torch.randn(shape)).requires_grad_()

    def constant(shape, value):
        return torch.full(shape, value).requires_grad_()

    params = common.initial(ARGS, normal, constant)
    betas = (common.BETA1, common.BETA2)
    optimizer = torch.optim.AdamW(
        params.values(), lr=common.LR, betas=betas, eps=common.EPS, weight_decay=common.WEIGHT_DECAY, fused=True
    )
    batches = torch.randint(ARGS.vocab, (8, 2, ARGS.batch, ARGS.seq))

    def loss_of(inputs, targets):
        return torch_model.loss_of(ARGS, params, inputs, targets)

    if ARGS.mode == "compile":
        loss_of = torch.compile(loss_of)

    def step(index):
        inputs, targets = batches[index % len(batches)]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(inputs, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    common.measure(ARGS, f"torch {ARGS.mode}", {"torch": torch.__version__}, step)


main()
