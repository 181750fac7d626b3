"""The optimizers of both scripts: PyTorch's own where it has them, else the published formulas on its tensors.

A formula is written from its paper, tensor by tensor, in the number type of the parameters. `suites/src/optimizers` says
which paper, and what stands differently there.
"""

import math

import torch


class Formula:
    """Looks like a PyTorch optimizer: `update(x, g, state, lr, t)` changes a parameter; t counts from 1."""

    def __init__(self, params, update):
        self.params, self.update, self.t = list(params), update, 0
        self.states = [{} for _ in self.params]
        self.param_groups = [{"lr": 0.0}]

    def zero_grad(self):
        for x in self.params:
            x.grad = None

    @torch.no_grad()
    def step(self):
        self.t += 1
        for x, state in zip(self.params, self.states):
            self.update(x, x.grad, state, self.param_groups[0]["lr"], self.t)


class Both:
    """Two optimizers over two sets of parameters; the second's rate is `ratio` times the first's."""

    def __init__(self, first, second, ratio):
        self.first, self.second, self.ratio = first, second, ratio
        self.param_groups = [{"lr": 0.0}]

    def zero_grad(self):
        self.first.zero_grad()
        self.second.zero_grad()

    def step(self):
        lr = self.param_groups[0]["lr"]
        for optimizer, rate in ((self.first, lr), (self.second, self.ratio * lr)):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()


def moments(x, g, s, beta1, beta2):
    """Exponential averages of g and of its square."""
    s["m"] = beta1 * s.get("m", torch.zeros_like(x)) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", torch.zeros_like(x)) + (1 - beta2) * g * g
    return s["m"], s["v"]


def radam(c):
    """Liu et al. 2020, Algorithm 2; `package` is the published package's default, `four-step` and the window Table 3's."""
    b1, b2 = c["beta1"], c["beta2"]
    rho_inf = 2 / (1 - b2) - 1

    def rectification(k):
        """r of the window's step k, or None where the step is not divided by the second moment."""
        if k < 1:
            return None
        if k <= c["unrectified_steps"]:
            return 1.0
        rho = rho_inf - 2 * k * b2**k / (1 - b2**k)
        if not (rho > 4 if c["variant"] in ("paper", "four-step") else rho >= 5):
            return None
        return math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))

    def update(x, g, s, lr, t):
        m, v = moments(x, g, s, b1, b2)
        r = rectification(t - c["unrectified_from"] + 1)
        if r is None and c["variant"] in ("package", "four-step"):
            return
        x.mul_(1 - lr * c["weight_decay"])
        m_hat = m / (1 - b1**t)
        if r is not None:
            x.sub_(lr * r * m_hat * math.sqrt(1 - b2**t) / (v.sqrt() + c["eps"]))
        else:
            x.sub_(lr * m_hat)

    return update


def adam_2k(c):
    """Liu et al. 2020, section 3.1."""
    b1, b2 = c["beta1"], c["beta2"]

    def update(x, g, s, lr, t):
        if t <= c["freeze_steps"]:
            moments(x, torch.zeros_like(g), s, b1, b2)
            s["v"] += (1 - b2) * g * g
            return
        m, v = moments(x, g, s, b1, b2)
        x.mul_(1 - lr * c["weight_decay"])
        x.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + c["eps"]))

    return update


def gi_adam(c):
    """Kalra & Barkeshli 2024: v_0 is the square of the first gradient."""
    b1, b2 = c["beta1"], c["beta2"]

    def update(x, g, s, lr, t):
        s.setdefault("v", g * g)
        m, v = moments(x, g, s, b1, b2)
        x.mul_(1 - lr * c["weight_decay"])
        x.sub_(lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + c["eps"]))

    return update


def lion(c):
    """Chen et al. 2023, Algorithm 2."""
    b1, b2 = c["beta1"], c["beta2"]

    def update(x, g, s, lr, t):
        m = s.get("m", torch.zeros_like(x))
        step = torch.sign(b1 * m + (1 - b1) * g) + c["weight_decay"] * x
        x.sub_(lr * step)
        s["m"] = b2 * m + (1 - b2) * g

    return update


def lamb(c):
    """You et al. 2020, Algorithm 2, phi the identity."""
    b1, b2 = c["beta1"], c["beta2"]

    def update(x, g, s, lr, t):
        m, v = moments(x, g, s, b1, b2)
        r = (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + c["eps"])
        u = r + c["weight_decay"] * x
        x_norm, u_norm = x.norm().item(), u.norm().item()
        ratio = x_norm / u_norm if x_norm > 0 and u_norm > 0 else 1.0
        x.sub_(lr * ratio * u)

    return update


def novograd(c):
    """Ginsburg et al. 2019, Algorithm 1."""
    b1, b2 = c["beta1"], c["beta2"]

    def update(x, g, s, lr, t):
        square = (g * g).sum()
        s["v"] = b2 * s["v"] + (1 - b2) * square if "v" in s else square
        term = g / (s["v"].sqrt() + c["eps"]) + c["weight_decay"] * x
        s["m"] = b1 * s["m"] + term if "m" in s else term
        x.sub_(lr * s["m"])

    return update


def adafactor(c):
    """Shazeer & Stern 2018, Algorithm 4, with the bounds of PyTorch's; steps are not relative."""

    def update(x, g, s, lr, t):
        weight = t ** c["beta2_decay"]
        square = g * g
        if x.dim() > 1:
            for key, dim in (("rows", -1), ("columns", -2)):
                mean = square.mean(dim=dim, keepdim=True)
                old = s.get(key, torch.zeros_like(mean))
                s[key] = old + weight * (mean - old)
            v = s["rows"] @ s["columns"] / s["rows"].mean().clamp(min=c["eps1"])
        else:
            old = s.get("v", torch.zeros_like(x))
            v = s["v"] = old + weight * (square - old)
        u = g / v.clamp(min=c["eps1"] ** 2).sqrt()
        u = u / max(1.0, u.square().mean().sqrt().item() / c["clip_threshold"])
        x.mul_(1 - lr * c["weight_decay"])
        x.sub_(lr * u)

    return update


def newton_schulz(g, eps):
    """Five quintic iterations (Jordan et al. 2024), in the type of g. PyTorch's own are in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / x.norm().clamp(min=eps)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def muon(c):
    """Jordan et al. 2024. A weight is stored [input, output]."""

    def update(x, g, s, lr, t):
        mu = c["momentum"]
        s["b"] = mu * s.get("b", torch.zeros_like(x)) + (1 - mu) * g
        ahead = mu * s["b"] + (1 - mu) * g if c["nesterov"] else s["b"]
        inputs, outputs = x.shape
        scale = math.sqrt(max(1.0, outputs / inputs)) if c["scale"] == "original" else 0.2 * math.sqrt(max(x.shape))
        x.mul_(1 - lr * c["weight_decay"])
        x.sub_(lr * scale * newton_schulz(ahead, c["eps"]))

    return update


FORMULAS = {
    "radam": radam,
    "adam-2k": adam_2k,
    "gi-adam": gi_adam,
    "lion": lion,
    "lamb": lamb,
    "novograd": novograd,
    "adafactor": adafactor,
}
# The parameters of each, so that a caller can refuse what is not known here.
KNOWN = {
    "sgd": ("momentum", "weight_decay"),
    "adam": ("beta1", "beta2", "eps", "weight_decay"),
    "adamw": ("beta1", "beta2", "eps", "weight_decay"),
    "radam": ("beta1", "beta2", "eps", "weight_decay", "variant", "unrectified_from", "unrectified_steps"),
    "adam-2k": ("beta1", "beta2", "eps", "weight_decay", "freeze_steps"),
    "gi-adam": ("beta1", "beta2", "eps", "weight_decay"),
    "lion": ("beta1", "beta2", "weight_decay"),
    "lamb": ("beta1", "beta2", "eps", "weight_decay"),
    "novograd": ("beta1", "beta2", "eps", "weight_decay"),
    "adafactor": ("beta2_decay", "eps1", "eps2", "clip_threshold", "relative_step", "weight_decay"),
    "muon": (
        ("momentum", "nesterov", "scale", "eps", "weight_decay")
        + ("adam_lr_ratio", "adam_beta1", "adam_beta2", "adam_eps")
    ),
}


def optimizer(name, c, params, hidden):
    """The optimizer `name` with coefficients `c` over tensors by name; `hidden` names the hidden matrices.

    The rate is that of `param_groups[0]["lr"]` at each step.
    """
    tensors = list(params.values())
    one_by_one = {"lr": 0.0, "foreach": False}
    if name == "sgd":
        return torch.optim.SGD(
            tensors, momentum=c["momentum"], weight_decay=c["weight_decay"], fused=False, **one_by_one
        )
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        betas, decay = (c["beta1"], c["beta2"]), c["weight_decay"]
        return kind(tensors, betas=betas, eps=c["eps"], weight_decay=decay, fused=False, **one_by_one)
    if name == "radam" and c["variant"] == "code" and c["unrectified_steps"] == 0:
        betas, decay = (c["beta1"], c["beta2"]), c["weight_decay"]
        return torch.optim.RAdam(
            tensors, betas=betas, eps=c["eps"], weight_decay=decay, decoupled_weight_decay=True, **one_by_one
        )
    if name == "adafactor" and c["relative_step"]:
        return torch.optim.Adafactor(
            tensors,
            beta2_decay=c["beta2_decay"],
            eps=(c["eps1"], c["eps2"]),
            d=c["clip_threshold"],
            weight_decay=c["weight_decay"],
            **one_by_one,
        )
    if name == "muon":
        fallback = {"beta1": c["adam_beta1"], "beta2": c["adam_beta2"], "eps": c["adam_eps"]}
        fallback["weight_decay"] = c["weight_decay"]
        others = {k: x for k, x in params.items() if k not in hidden}
        matrices = Formula([x for k, x in params.items() if k in hidden], muon(c))
        return Both(matrices, optimizer("adamw", fallback, others, ()), c["adam_lr_ratio"])
    return Formula(tensors, FORMULAS[name](c))


# Where an export keeps each state, by the optimizer's own name of it: `0.NAME` of an elementwise step, `m of NAME` of one that
# goes tensor by tensor.
STATES = {
    "momentum_buffer": ("0.{}",),
    "exp_avg": ("0.{}", "m of {}"),
    "exp_avg_sq": ("1.{}", "v of {}"),
    "row_var": ("row means of {}",),
    "col_var": ("column means of {}",),
    "variance": ("v of {}",),
    "m": ("0.{}", "m of {}"),
    "v": ("1.{}", "v of {}"),
    "rows": ("row means of {}",),
    "columns": ("column means of {}",),
    "b": ("velocity of {}",),
}
OWN = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adafactor: ("row_var", "col_var", "variance"),
    Formula: ("m", "v", "rows", "columns", "b"),
}


def take_state(optimizer, params, exported, count):
    """Gives `optimizer` the exported states after `count` steps. Returns the names of those that were taken."""
    if isinstance(optimizer, Both):
        return take_state(optimizer.first, params, exported, count) | take_state(optimizer.second, params, exported, count)
    keys, taken = OWN.get(type(optimizer), ("exp_avg", "exp_avg_sq")), set()
    formula = isinstance(optimizer, Formula)
    names = {id(x): name for name, x in params.items()}
    for i, x in enumerate(optimizer.params if formula else optimizer.param_groups[0]["params"]):
        state = {}
        for key in keys:
            for place in (form.format(names[id(x)]) for form in STATES[key]):
                if place in exported:
                    state[key] = exported[place].to(x.dtype, copy=True)
                    taken.add(place)
        if formula:
            optimizer.states[i] = state
        else:
            step = {} if isinstance(optimizer, torch.optim.SGD) else {"step": torch.tensor(float(count))}
            optimizer.state[x] = step | state
    if formula:
        optimizer.t = count
    return taken
