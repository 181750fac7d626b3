"""The decoder Transformer of the parity tests in PyTorch, and what its training needs. README.md describes it.

Shared by make_fixtures.py and replay.py. Written from the description, with PyTorch's own operations.
"""

import dataclasses
import math

import torch

LN_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class Transformer:
    """What the shapes of the parameters do not tell."""

    layers: int
    heads: int
    norm: str  # pre-ln or post-ln
    activation: str  # relu, gelu-tanh, gelu-erf, or swiglu with or without -256
    positions: str = "learned"  # or sinusoidal or none
    tied: bool = False
    causal: bool = True
    out_projection: bool = True

    def logits(self, p, inputs):
        """[B, T, V] of the parameters `p` by name and tokens [B, T]."""
        x = p["tok_emb"][inputs]
        if self.positions == "learned":
            x = x + p["pos_emb"]
        elif self.positions == "sinusoidal":
            x = x + sinusoids(*x.shape[-2:], x.dtype)
        for layer in range(self.layers):
            block = f"block.{layer}"
            if self.norm == "post-ln":
                x = layer_norm(x + self.attention(x, p, block), p, f"{block}.ln1")
                x = layer_norm(x + self.ffn(x, p, block), p, f"{block}.ln2")
            else:
                x = x + self.attention(layer_norm(x, p, f"{block}.ln1"), p, block)
                x = x + self.ffn(layer_norm(x, p, f"{block}.ln2"), p, block)
        if self.norm == "pre-ln":
            x = layer_norm(x, p, "final_ln")
        return x @ (p["tok_emb"].T if self.tied else p["head.w"])

    def attention(self, x, p, block):
        b, t, c = x.shape
        d = c // self.heads
        qkv = x @ p[f"{block}.attn.w_qkv"] + p[f"{block}.attn.b_qkv"]
        q, k, v = (part.reshape(b, t, self.heads, d).transpose(1, 2) for part in qkv.split(c, dim=-1))
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(d)
        if self.causal:
            hidden = torch.triu(torch.ones(t, t, dtype=torch.bool), diagonal=1)
            scores = scores.masked_fill(hidden, -math.inf)
        heads = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(b, t, c)
        if not self.out_projection:
            return heads
        return heads @ p[f"{block}.attn.w_out"] + p[f"{block}.attn.b_out"]

    def ffn(self, x, p, block):
        if self.activation.startswith("swiglu"):
            gate = torch.nn.functional.silu(x @ p[f"{block}.ffn.w_gate"])
            return (gate * (x @ p[f"{block}.ffn.w_in"])) @ p[f"{block}.ffn.w_out"]
        x = x @ p[f"{block}.ffn.w_in"] + p[f"{block}.ffn.b_in"]
        if self.activation == "relu":
            x = torch.relu(x)
        else:
            x = torch.nn.functional.gelu(x, approximate={"gelu-tanh": "tanh", "gelu-erf": "none"}[self.activation])
        return x @ p[f"{block}.ffn.w_out"] + p[f"{block}.ffn.b_out"]

    def loss(self, p, inputs, targets, label_smoothing, step=None):
        """Mean cross-entropy in nats, the same at every step."""
        del step
        logits = self.logits(p, inputs)
        return torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), label_smoothing=label_smoothing
        )


def layer_norm(x, p, name):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], p[f"{name}.gamma"], p[f"{name}.beta"], LN_EPS)


def sinusoids(seq, width, dtype):
    """Vaswani et al. 2017, section 3.5: sines in even columns, cosines in odd ones."""
    angles = torch.arange(seq, dtype=torch.float64)[:, None] / 10000 ** (
        (torch.arange(width, dtype=torch.float64) // 2 * 2) / width
    )
    even = torch.arange(width) % 2 == 0
    return torch.where(even, torch.sin(angles), torch.cos(angles)).to(dtype)


def clip(params, largest):
    """Scales all gradients to the largest allowed norm. Returns the norm before. No small number is added."""
    grads = [x.grad for x in params.values()]
    norm = torch.sqrt(sum((g.double() ** 2).sum() for g in grads)).item()
    if norm > largest:
        for g in grads:
            g.mul_(largest / norm)
    return norm


def relative(a, b):
    """||a - b|| / ||b||, 0 where both are zero."""
    a, b = a.double(), b.double()
    apart, size = torch.linalg.vector_norm(a - b).item(), torch.linalg.vector_norm(b).item()
    return apart / size if size else (math.inf if apart else 0.0)
