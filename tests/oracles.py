"""Slow and obvious versions of every quantity, written from its definition, one example, pick or draw at a time.

Nothing here calls the code under test. It is written to be compared with the formulas, and runs on tiny problems.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

_MASK = (1 << 64) - 1


# --- vectors ---------------------------------------------------------------------------------------------------------
def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Write tensors one after the other, [P]."""
    return torch.cat([t.reshape(-1) for t in tensors])


def loop_rows(
    scalar: Callable[[Sequence[int]], Tensor], params: Sequence[Tensor], groups: Sequence[Sequence[int]]
) -> Tensor:
    """One backward pass per group: rows [M, P] of a loss `scalar(members)` in `params` (which ask for gradients)."""
    rows = []
    for members in groups:
        slopes = torch.autograd.grad(scalar([int(i) for i in members]), params, allow_unused=True)
        rows.append(flat([torch.zeros_like(p) if g is None else g for g, p in zip(slopes, params, strict=True)]))
    return torch.stack(rows)


def central_differences(value: Callable[[Tensor], float], theta: Tensor, step: float = 1e-6) -> Tensor:
    """∂value/∂θ_p by (f(θ + h e_p) − f(θ − h e_p)) / 2h, one coordinate at a time, [P]."""
    out = torch.zeros_like(theta)
    for p in range(len(theta)):
        unit = torch.zeros_like(theta)
        unit[p] = step
        out[p] = (value(theta + unit) - value(theta - unit)) / (2 * step)
    return out


# --- draws -----------------------------------------------------------------------------------------------------------
def _splitmix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def seed_of(seed: int, *path: int | str, index: int) -> int:
    """The 63-bit seed of (seed, path, index), in python integers."""
    z = 0
    for part in (seed, *path):
        word = (
            int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
            if isinstance(part, str)
            else part & _MASK
        )
        z = _splitmix(z ^ word)
    return _splitmix(z ^ index) >> 1


def noise_one_by_one(
    shape: Sequence[int], dtype: torch.dtype, seed: int, *path: int | str, indices: Sequence[int]
) -> Tensor:
    """Uniform numbers in [−1, 1), one generator per index, [len(indices), *shape]."""
    out = []
    for i in indices:
        own = torch.Generator().manual_seed(seed_of(seed, *path, index=int(i)))
        out.append(torch.empty(*shape).uniform_(-1.0, 1.0, generator=own).to(dtype))
    return torch.stack(out)


# --- attacks ---------------------------------------------------------------------------------------------------------
def pgd_linf(
    ascend: Callable[[Tensor], Tensor],
    x: Tensor,
    noise: Tensor,
    radius: float,
    step: float,
    steps: int,
    *,
    start: bool = True,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    """Madry et al. 2018 on one block of inputs in [low, high]: random start, sign steps, ball, then bounds."""
    at = x + radius * noise if start else x.clone()
    at = torch.minimum(torch.maximum(at, x - radius), x + radius).clamp(low, high)
    for _ in range(steps):
        at = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(ascend(at), at)
        at = at.detach() + step * torch.sign(slope)
        at = torch.minimum(torch.maximum(at, x - radius), x + radius).clamp(low, high)
    return at.detach()


def nfgsm(
    loss: Callable[[Tensor], Tensor], x: Tensor, noise: Tensor, radius: float, step: float, steps: int, k: float
) -> Tensor:
    """N-FGSM entry by entry: x + k·r·u, then steps of ±α or 0, clipped to [0, 1] and to nothing else."""
    at = x.clone()
    for i in itertools.product(*(range(size) for size in x.shape)):
        at[i] = min(1.0, max(0.0, float(x[i]) + k * radius * float(noise[i])))
    for _ in range(steps):
        point = at.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(point), point)
        for i in itertools.product(*(range(size) for size in x.shape)):
            sign = (float(slope[i]) > 0) - (float(slope[i]) < 0)
            at[i] = min(1.0, max(0.0, float(at[i]) + step * sign))
    return at


def pgd_l2(
    ascend: Callable[[Tensor], Tensor],
    x: Tensor,
    radius: float,
    step: float,
    steps: int,
    *,
    low: float = 0.0,
    high: float = 1.0,
    start: Tensor | None = None,
) -> Tensor:
    """Run the same with steps of length `step` along the gradient and projection on the Euclidean ball, starting at x."""
    at = x.clone() if start is None else start
    for _ in range(steps):
        at = at.detach().requires_grad_()
        (slope,) = torch.autograd.grad(ascend(at), at)
        moved = []
        for a, g, c in zip(at.detach(), slope, x, strict=True):
            length = float(g.pow(2).sum().sqrt())
            a = a + step * (g / length if length > 0 else g)
            away = a - c
            far = float(away.pow(2).sum().sqrt())
            moved.append((c + away * (radius / far) if far > radius else a).clamp(low, high))
        at = torch.stack(moved)
    return at.detach()


def ball_start(noise: Sequence[float], radius: float) -> list[float]:
    """A uniform point of the Euclidean ball from uniform numbers in (−1, 1), one for each dimension.

    √2·erfinv(u) is Gaussian: its direction is uniform, and the probability of a shorter one is uniform in [0, 1]; the d-th
    root of that is the length of a uniform point of the unit ball.
    """
    from scipy.special import erfinv, gammainc

    g = [math.sqrt(2) * float(erfinv(u)) for u in noise]
    squares = sum(v * v for v in g)
    length = radius * float(gammainc(len(g) / 2, squares / 2)) ** (1 / len(g))
    return [length * v / math.sqrt(squares) for v in g]


# --- divergences and losses ------------------------------------------------------------------------------------------
def softmax(h: Tensor) -> Tensor:
    """e^h / Σ e^h over the last axis, by its definition."""
    e = (h - h.max(-1, keepdim=True).values).exp()
    return e / e.sum(-1, keepdim=True)


def kl(adversarial: Tensor, natural: Tensor) -> Tensor:
    """Σ_c p̃_c log(p̃_c / p_c) per example."""
    a, n = softmax(adversarial), softmax(natural)
    return (a * (a / n).log()).sum(1)


def js(adversarial: Tensor, natural: Tensor) -> Tensor:
    """½ KL(p̃ ‖ m) + ½ KL(p ‖ m), m the mean of the two."""
    a, n = softmax(adversarial), softmax(natural)
    m = (a + n) / 2
    return 0.5 * (a * (a / m).log()).sum(1) + 0.5 * (n * (n / m).log()).sum(1)


def entropic_transport(adversarial: Tensor, natural: Tensor, epsilon: float, iterations: int = 20000) -> float:
    """min ⟨P, C⟩ + ε KL(P ‖ u uᵀ) with uniform marginals, by plain Sinkhorn scaling in float64."""
    b = len(adversarial)
    cost = torch.empty(b, b, dtype=torch.float64)
    for i, j in itertools.product(range(b), range(b)):
        a, n = adversarial[i].double(), natural[j].double()
        cost[i, j] = 1 - float(a @ n) / math.sqrt(float(a @ a) * float(n @ n))
    kernel = (-cost / epsilon).exp()
    u = v = torch.ones(b, dtype=torch.float64)
    for _ in range(iterations):
        u = (1 / b) / (kernel @ v)
        v = (1 / b) / (kernel.T @ u)
    plan = u[:, None] * kernel * v[None]
    return float((plan * cost).sum() + epsilon * (plan * (plan * b * b).log()).sum())


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Chen et al. 2020 by double loop over the 2B views."""
    z = torch.cat([first, second])
    z = torch.stack([one / one.pow(2).sum().sqrt() for one in z])
    b, total = len(first), torch.zeros((), dtype=z.dtype)
    for u in range(2 * b):
        below = sum(((z[u] @ z[v]) / temperature).exp() for v in range(2 * b) if v != u)
        above = ((z[u] @ z[(u + b) % (2 * b)]) / temperature).exp()
        total = total - (above / below).log()
    return total / (2 * b)


def info_nce(query: Tensor, key: Tensor, negatives: Sequence[Tensor], temperature: float) -> Tensor:
    """−log of the share of the right key among all keys, one query [D] at a time, by the cosine of two vectors."""

    def score(k: Tensor) -> Tensor:
        return math.e ** (query @ k / (query.norm() * k.norm()) / temperature)

    return -(score(key) / (score(key) + sum(score(k) for k in negatives))).log()


def bootstrap_distance(p: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Half the sum of ‖p̄ⁱ − z̄ʲ‖² over both directions, for predictions and targets [D] of two views."""
    unit = [[v / v.norm() for v in side] for side in (p, target)]
    return ((unit[0][0] - unit[1][1]) ** 2).sum() / 2 + ((unit[0][1] - unit[1][0]) ** 2).sum() / 2


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−log p_y per example."""
    p = softmax(outputs)
    return torch.stack([-p[i, int(y)].log() for i, y in enumerate(labels)])


# --- choosing --------------------------------------------------------------------------------------------------------
def algorithm_1(
    row: Callable[[Sequence[int]], Tensor],
    query: Callable[[Tensor], Tensor],
    groups: Sequence[Iterable[int]],
    theta: Tensor,
    eta: float,
    budget: int,
    *,
    refresh: int = 1,
) -> tuple[list[int], list[int], list[float], Tensor]:
    """Run the algorithm of docs/rcs.md in float64: (order of groups, picks, gains as stepped, θ′).

    Each step picks the largest ⟨r_m, q⟩ of the other groups, ties to the lowest number; θ′ ← θ′ − η r_m; the query is renewed
    every `refresh` picks. The last group is trimmed to its first members: its row is recomputed on them, with weight kept / size.
    """
    rows = [row(list(map(int, g))) for g in groups]
    left = list(range(len(groups)))
    order: list[int] = []
    picks: list[int] = []
    gains: list[float] = []
    q = query(theta)
    while len(picks) < budget:
        if order and len(order) % refresh == 0:
            q = query(theta)
        best = max(left, key=lambda m: (float(rows[m].double() @ q.double()), -m))
        members = [int(i) for i in groups[best]]
        size, kept = len(members), members[: budget - len(picks)]
        r = rows[best] if len(kept) == size else row(kept)
        weight = Fraction(len(kept), size)
        gains.append(eta * float(weight) * float(r.double() @ q.double()))
        theta = theta - eta * float(weight) * r
        left.remove(best)
        order.append(best)
        picks.extend(kept)
    return order, picks, gains, theta


def greedi(
    row: Callable[[Sequence[int]], Tensor],
    query: Callable[[Tensor], Tensor],
    decrease: Callable[[Tensor], float],
    groups: Sequence[Iterable[int]],
    parts: Sequence[Sequence[int]],
    theta: Tensor,
    eta: float,
    budget: int,
) -> tuple[list[int], list[int], float]:
    """Run GreeDi by its definition, with `algorithm_1` for each run: (order of groups, picks, decrease).

    Each part picks the budget, or all that it has; then the union of these groups is picked from. The best answer that meets the
    budget is taken: the union's on equal terms, else that of the earliest part.
    """

    def one(numbers: Sequence[int], k: int) -> tuple[list[int], list[int], float]:
        order, picks, _, final = algorithm_1(row, query, [groups[m] for m in numbers], theta, eta, k)
        return [numbers[m] for m in order], picks, decrease(final)

    answers = [one(part, min(budget, sum(len(list(groups[m])) for m in part))) for part in parts]
    best = one(sorted(m for order, _, _ in answers for m in order), budget)
    for answer in answers:
        if len(answer[1]) == budget and answer[2] > best[2]:
            best = answer
    return best


def best_of_all_subsets(gains: Tensor, curve: Tensor, k: int) -> float:
    """max of f(w) = gainsᵀw − ½ wᵀ curve w over every 0/1 vector with k ones."""
    best = -math.inf
    for chosen in itertools.combinations(range(len(gains)), k):
        ids = list(chosen)
        best = max(best, float(gains[ids].sum() - 0.5 * curve[ids][:, ids].sum()))
    return best


def rs2_draws(counts: Sequence[int], permutation: Callable[[int], Sequence[int]]) -> list[list[int]]:
    """Draw hands of these sizes, card by card: the first of the deck that is not in the hand; after an empty deck the next."""
    deck = [int(i) for i in permutation(0)]
    cycle = 0
    hands = []
    for k in counts:
        hand: list[int] = []
        while len(hand) < k:
            at = next((j for j, card in enumerate(deck) if card not in hand), None)
            if at is None:
                cycle += 1
                deck += [int(i) for i in permutation(cycle)]
            else:
                hand.append(deck.pop(at))
        hands.append(hand)
    return hands


def budget_of(decimal: str, n: int) -> int:
    """Compute ⌊f·n⌋ of the written decimal in integers: f = digits / 10^places."""
    whole, _, places = decimal.partition(".")
    return int(whole + places) * n // 10 ** len(places)


def effective(counts: Sequence[int]) -> float:
    """exp(entropy) of a histogram."""
    total = sum(counts)
    return math.exp(-sum(c / total * math.log(c / total) for c in counts if c))


def ranks(values: Sequence[float]) -> np.ndarray:
    """Average ranks, for Spearman's correlation by its definition."""
    v = np.asarray(values)
    return np.array([(v < x).sum() + ((v == x).sum() + 1) / 2 for x in v])


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation of the ranks."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
