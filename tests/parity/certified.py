"""The certified network of the parity tests in PyTorch. README.md describes it.

Shared by make_fixtures.py and replay.py. Written from the description, with PyTorch's own operations; gradients are autograd's.
"""

import dataclasses
import math

import torch
from torch.nn import functional

BN_EPS, MOMENTUM = 1e-5, 0.1
# eps is never below, and nothing is divided by a width below.
LEAST_EPS, LEAST_WIDTH = 1e-12, 1e-30
# Linear bounds have no smaller weight.
LEAST_SHARE = 1e-5


@dataclasses.dataclass
class Certified:
    """What the shapes of the parameters do not tell, and the running statistics of batch norm."""

    conv_layers: int
    channels: int
    layers: int
    tightness: bool
    relu_balance: bool
    lambda0: float
    tau: float
    eps: float
    clean_steps: int
    eps_warmup_steps: int
    bounds: str = "ibp"
    running: dict = dataclasses.field(default_factory=dict)

    def eps_at(self, s):
        """auto_LiRPA's smoothed schedule, s steps done: a power of 4 for a quarter of the warm-up, then a line."""
        start, end = self.clean_steps, self.clean_steps + self.eps_warmup_steps
        middle = start + math.floor(0.25 * (end - start))
        if s >= end:
            return self.eps
        if s <= start:
            return 0.0
        power, at_middle = middle - start, 0.0
        if power:
            a = self.eps / ((end - middle) * 4 * power**3 + power**4)
            if s < middle:
                return a * (s - start) ** 4
            at_middle = a * power**4
        return min(at_middle + (self.eps - at_middle) * (s - middle) / (end - middle), self.eps)

    def loss(self, p, inputs, targets, label_smoothing, step=None):
        """The certified loss of bytes [B, pixels] at a step counted from 1, regularised; without a step that of an evaluation."""
        targets = targets.reshape(-1)
        eps = self.eps if step is None else self.eps_at(step - 1)
        margins, penalty, linear = self.margins(p, inputs, targets, max(eps, LEAST_EPS), step is not None)
        share = (self.eps - eps) / self.eps
        if step is not None and self.bounds == "crown-ibp" and share >= LEAST_SHARE:
            margins = share * linear() + (1 - share) * margins
        loss = functional.cross_entropy(margins, targets, label_smoothing=label_smoothing)
        if step is not None and self.lambda0 > 0 and (self.tightness or self.relu_balance):
            loss = loss + self.lambda0 * (1 - eps / self.eps) * penalty
        return loss

    def margins(self, p, inputs, targets, eps, training):
        """(margins [B, V] at worst, the regularisers' mean over layers, what computes the margins by linear bounds)"""
        some = p["last.w"]
        x = inputs.to(some.dtype) / 255
        below, above = torch.clamp(x, max=eps), torch.clamp(1 - x, max=eps)
        c, r = x + (above - below) / 2, (above + below) / 2
        first, penalties, image, layers = r.mean(), [], (c - r, c + r), []
        for i in range(self.conv_layers + self.layers):
            x, c, r = self.layer(p, i, x, c, r)
            norm = None
            if f"layer.{i}.gamma" in p:
                (x, c, r), norm = self.batch_norm(p, i, x, c, r, training)
            penalties.append(self.penalty(c, r, first))
            low, high = c - r, c + r
            layers.append((low, high, norm))
            half = high / 2
            active, unstable = low > 0, (low <= 0) & (high > 0)
            zero = torch.zeros_like(c)
            x = torch.relu(x)
            c, r = (torch.where(active, here, torch.where(unstable, half, zero)) for here in (c, r))
        margins = worst_margins(c.flatten(1), r.flatten(1), p["last.w"], p["last.b"], targets)
        return margins, sum(penalties) / len(penalties), lambda: linear_margins(p, image, layers, targets)

    def layer(self, p, i, x, c, r):
        """An affine layer on all three; images are [B, H, W, channels] from the first convolution on."""
        w, b = p[f"layer.{i}.w"], p.get(f"layer.{i}.b")
        if i >= self.conv_layers:
            x, c, r = (t.flatten(1) for t in (x, c, r))
            b = 0 if b is None else b
            return x @ w + b, c @ w + b, r @ w.abs()
        if x.dim() == 2:
            side = math.isqrt(x.shape[1] // self.channels)
            x, c, r = (t.reshape(-1, side, side, self.channels) for t in (x, c, r))
        kernel = w.reshape(3, 3, -1, w.shape[1]).permute(3, 2, 0, 1)
        stride = 2 if i == 2 else 1

        def convolve(t, kernel, bias):
            return functional.conv2d(t.permute(0, 3, 1, 2), kernel, bias, stride, 1).permute(0, 2, 3, 1)

        return convolve(x, kernel, b), convolve(c, kernel, b), convolve(r, kernel.abs(), None)

    def batch_norm(self, p, i, x, c, r, training):
        """Statistics are those of the clean batch, or the running ones."""
        gamma, beta = p[f"layer.{i}.gamma"], p[f"layer.{i}.beta"]
        axes = tuple(range(x.dim() - 1))
        mean, var = self.running.get(i, (torch.zeros_like(beta), torch.ones_like(beta)))
        if training:
            now = x.mean(axes), x.var(axes, unbiased=False)
            n = x.numel() // x.shape[-1]
            with torch.no_grad():
                seen = now[0], now[1] * n / max(n - 1, 1)
                self.running[i] = tuple(old + MOMENTUM * (new - old) for old, new in zip((mean, var), seen))
            mean, var = now
        scale = gamma / torch.sqrt(var + BN_EPS)
        return ((x - mean) * scale + beta, (c - mean) * scale + beta, r * scale.abs()), (mean, scale)

    def penalty(self, c, r, first):
        tau, total = self.tau, 0.0
        if self.tightness:
            total = total + torch.relu(tau - first / torch.clamp(r.mean(), min=LEAST_WIDTH)) / tau
        if self.relu_balance:
            above, below = c - r > 0, c + r < 0
            off = (c - c.mean()) ** 2
            pairs = ((c * above).sum(), -(c * below).sum()), ((off * above).sum(), (off * below).sum())
            for a, b in pairs:
                if a > 0 and b > 0:
                    total = total + torch.relu(tau - torch.minimum(a, b) / torch.maximum(a, b)) / tau
        return total


def linear_margins(p, image, layers, targets):
    """Upper bounds of the margins: a x + b of the units' values x, taken back from the last of dense layers to the image."""
    w, bias = p["last.w"], p["last.b"]
    a, b = (w[None] - w.T[targets][:, :, None]).transpose(1, 2), bias - bias[targets][:, None]
    for i, (low, high, norm) in reversed(list(enumerate(layers))):
        # ReLU lies below high (z - low) / (high - low), and above z or 0.
        bent, active = (low <= 0) & (high > 0), (low > 0).to(low.dtype)
        apart = torch.where(bent, high - low, torch.ones_like(low))
        upper = torch.where(bent, high / apart, active)
        lower = torch.where(bent, (high > -low).to(low.dtype), active)
        offset = torch.where(bent, -low * high / apart, torch.zeros_like(low))
        positive, negative = a.clamp(min=0), a.clamp(max=0)
        b = b + (positive * offset[:, None]).sum(-1)
        a = positive * upper[:, None] + negative * lower[:, None]
        if norm is not None:
            mean, scale = norm
            b = b + a @ (p[f"layer.{i}.beta"] - mean * scale)
            a = a * scale
        else:
            b = b + a @ p[f"layer.{i}.b"]
        a = a @ p[f"layer.{i}.w"].T
    low, high = (x[:, None] for x in image)
    return b + (a.clamp(min=0) * high + a.clamp(max=0) * low).sum(-1)


def worst_margins(c, r, w, b, targets):
    """The most by which each class can beat the target: the last layer is merged with the comparison."""
    against = w[None] - w.T[targets][:, :, None]
    return torch.einsum("nk,nkv->nv", c, against) + b - b[targets][:, None] + torch.einsum("nk,nkv->nv", r, against.abs())


def worst_margins_by_ends(model, p, inputs, targets, eps, training):
    """The same margins from lower and upper ends, positive and negative weights apart: a check of the definition."""
    x = inputs.to(p["last.w"].dtype) / 255
    low, high = torch.clamp(x - eps, min=0), torch.clamp(x + eps, max=1)
    for i in range(model.conv_layers + model.layers):
        x, _, _ = model.layer(p, i, x, x, x)
        w = p[f"layer.{i}.w"]
        ends = []
        for first, second in ((low, high), (high, low)):
            positive, negative = p | {f"layer.{i}.w": w.clamp(min=0)}, p | {f"layer.{i}.w": w.clamp(max=0), f"layer.{i}.b": None}
            ends.append(model.layer(positive, i, first, first, first)[1] + model.layer(negative, i, second, second, second)[1])
        low, high = ends
        if f"layer.{i}.gamma" in p:
            axes = tuple(range(x.dim() - 1))
            mean, var = (x.mean(axes), x.var(axes, unbiased=False)) if training else model.running[i]
            scale, beta = p[f"layer.{i}.gamma"] / torch.sqrt(var + BN_EPS), p[f"layer.{i}.beta"]
            x, low, high = ((t - mean) * scale + beta for t in (x, low, high))
            low, high = torch.minimum(low, high), torch.maximum(low, high)
        x, low, high = (torch.relu(t) for t in (x, low, high))
    low, high = low.flatten(1), high.flatten(1)
    against = p["last.w"][None] - p["last.w"].T[targets][:, :, None]
    shift = p["last.b"] - p["last.b"][targets][:, None]
    ends = torch.einsum("nk,nkv->nv", high, against.clamp(min=0)) + torch.einsum("nk,nkv->nv", low, against.clamp(max=0))
    return ends + shift
