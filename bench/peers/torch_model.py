"""The model's ops in PyTorch."""

import common
import torch.nn.functional as F


class Ops:
    @staticmethod
    def linear(x, w, b):
        return x @ w if b is None else x @ w + b

    @staticmethod
    def layer_norm(x, gamma, beta):
        return F.layer_norm(x, x.shape[-1:], gamma, beta, common.LN_EPS)

    @staticmethod
    def gelu(x):
        return F.gelu(x, approximate="tanh")

    @staticmethod
    def attention(qkv):
        """[B,T,3,H,D] to [B,T,H,D]."""
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def loss_of(args, params, inputs, targets, ops=Ops):
    scores = common.logits(args, params, inputs, ops)
    return F.cross_entropy(scores.view(-1, args.vocab), targets.flatten())
