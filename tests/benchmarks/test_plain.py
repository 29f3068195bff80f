"""Claims about the plain procedure and the judge: it is Algorithm 1, and both sides are judged alike."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.case_types import Case, SelectionCase, WarmUp
from benchmarks.cases import ONE_STEP
from benchmarks.plain import Picked, Plain, attacked, kl
from benchmarks.selection import SetValue, ours, plainly, selector
from benchmarks.sweep import floor
from coreselect import Selection, Task, select
from coreselect.attacks import PGD
from coreselect.support import seeding
from coreselect.task.groups import deal

CASE = SelectionCase(
    pool=45, validation=7, group_size=6, budget=20, attack=PGD(0.1, 0.05, 2), validation_attack=PGD(0.1, 0.05, 2), eta=2.0,
    warm=WarmUp(0, 0), thresholds=(), batch_size=4, random_sets=5,
)  # fmt: skip


class Net(nn.Module):
    """A tiny network with a linear head and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2, 5, 5] → [B, 3]."""
        return self.head(self.norm(self.conv(x)).tanh().mean((-2, -1)))


@pytest.fixture
def model() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Net().double()
        for _ in range(5):
            net(torch.rand(32, 2, 5, 5, dtype=torch.float64))
        for p in net.parameters():
            p.data.mul_(3)
    return net.eval()


def images(n: int, seed: int) -> TensorDataset:
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 2, 5, 5, generator=draw, dtype=torch.float64)
    return TensorDataset(x, torch.randint(3, (n,), generator=draw))


POOL, VALIDATION = images(CASE.pool, 0), images(CASE.validation, 1)


def chosen(case: SelectionCase, model: Net) -> tuple[Plain, Picked]:
    plain = plainly(case, model, POOL, VALIDATION, "head")
    work = plain.choose()
    shares = []
    while True:
        try:
            shares.append(next(work))
        except StopIteration as end:
            assert shares == sorted(shares)
            assert 0 < shares[0] <= shares[-1] <= 1
            return plain, end.value


def selected(case: SelectionCase, model: Net, recraft: str) -> Selection:
    task = Task.from_model(model, POOL, VALIDATION, loss="sat", attack=case.attack, batch_size=case.batch_size)
    return select(task, selector(case, recraft=recraft, certify=None), case.budget, case.seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plain_procedure_picks_what_rcs_recrafted_at_every_pick_does(model: Net, seed: int) -> None:
    """Two writings of Algorithm 1 give the same groups in the same order, the last one cut alike."""
    case = replace(CASE, seed=seed)
    _, picked = chosen(case, model)
    selection = selected(case, model, "every")
    assert ours(selection) == (list(picked.order), list(picked.kept))
    assert sum(picked.kept) == case.budget
    assert len(selection.indices) == case.budget


def test_the_plain_rows_are_gradients_of_the_mean_attacked_loss(model: Net) -> None:
    """Every row is the finite-difference slope of the group's loss in the head's parameters, attacked inputs held."""
    plain, picked = chosen(CASE, model)
    group = plain.groups[2]
    x = torch.stack([POOL[int(i)][0] for i in group])
    y = torch.stack([POOL[int(i)][1] for i in group])
    moved = attacked(
        model, x, plain.train_start(x, group), plain.train, lambda out: F.cross_entropy(out, y, reduction="sum")
    )
    step = 1e-6
    with torch.no_grad():
        for at, (where, want) in enumerate(zip(itertools.chain(*_places(model)), picked.rows[2], strict=True)):
            parameter, index = where
            was = parameter.view(-1)[index].item()
            values = []
            for sign in (1, -1):
                parameter.view(-1)[index] = was + sign * step
                values.append(F.cross_entropy(model(moved), y).item())
            parameter.view(-1)[index] = was
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(want.item(), abs=1e-8), at


def _places(model: Net) -> list[list[tuple[nn.Parameter, int]]]:
    return [[(p, i) for i in range(p.numel())] for p in model.head.parameters()]


def test_the_plain_procedure_leaves_the_model_alone(model: Net) -> None:
    """It works on a copy."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    chosen(CASE, model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_plain_attack_is_the_library_s(model: Net) -> None:
    """Starts, steps and projections agree, so that neither side has an easier attack."""
    x, y = VALIDATION.tensors
    start = seeding.noise(x, seeding.seeds(0, "test", indices=np.arange(len(x))))
    how = PGD(0.1, 0.05, 3)

    def rise(out: Tensor) -> Tensor:
        return F.cross_entropy(out, y, reduction="sum")

    (theirs,) = how(lambda views: rise(model(views[0])), (x,), (start,))
    assert torch.equal(
        attacked(model, x, start, plainly(replace(CASE, attack=how), model, POOL, POOL, "head").train, rise), theirs
    )


def test_the_floor_does_the_sweep_s_attack_and_forward(model: Net) -> None:
    """The losses that the floor arrives at are those of the sweep's rows: it does no less than the work needed."""
    x, y = POOL.tensors
    starts = seeding.noise(x, seeding.seeds(0, "attack", 0, 0, indices=np.arange(len(x))))
    work = floor(model.requires_grad_(False), x, y, starts, CASE.attack, 4)
    losses = None
    while losses is None:
        try:
            next(work)
        except StopIteration as end:
            losses = end.value
    groups = deal(len(x), 6, seeding.generator(0, "groups", 0))
    task = Task.from_model(model, POOL, VALIDATION, loss="sat", attack=CASE.attack, batch_size=4)
    with task.snapshot(0, 0) as shot:
        _, of_rows = shot.rows(groups)
    assert of_rows is not None
    torch.testing.assert_close(
        torch.stack([losses[torch.from_numpy(g)].mean() for g in groups]), of_rows, rtol=0, atol=1e-12
    )


def test_the_judge_gives_the_plain_picks_quality_one(model: Net) -> None:
    """Quality is 1 for equal picks by definition; RD of nothing chosen is RD at θ."""
    plain, picked = chosen(CASE, model)
    judge = SetValue(plain, CASE, picked.rows)
    same = (list(picked.order), list(picked.kept))
    report = judge.compare(same, same)
    assert report["quality"] == pytest.approx(1.0)
    assert report["same_order"]
    assert report["rd"]["plain"] < report["rd"]["random_mean"]
    assert report["rd"]["before"] == judge.rd(([], []))


def test_quality_tells_picks_apart(model: Net) -> None:
    """Groups that were left over are worth less than the plain picks, those of inputs attacked once nearly as much."""
    plain, picked = chosen(CASE, model)
    judge = SetValue(plain, CASE, picked.rows)
    once = selected(CASE, model, "once")
    last = [m for m in range(len(plain.groups)) if m not in picked.order][-len(picked.order) :]
    kept = [len(plain.groups[m]) for m in last]
    kept[-1] -= sum(kept) - CASE.budget
    assert judge.compare((last, kept), (picked.order, picked.kept))["quality"] < 0.9
    assert judge.compare(ours(once), (picked.order, picked.kept))["quality"] > 0.5


@pytest.mark.parametrize(
    ("of_plain", "of_ours", "want"), [(0.2, 0.25, 0.75), (0.2, 0.1, 1.5), (0.4, 0.3, None), (0.5, 0.3, None)]
)
def test_quality_is_the_share_of_what_plain_wins_over_random(
    model: Net, monkeypatch: pytest.MonkeyPatch, of_plain: float, of_ours: float, want: float | None
) -> None:
    """It may exceed 1; where plain picks win nothing it is not a number, and so does not pass."""
    plain, picked = chosen(CASE, model)
    judge = SetValue(plain, CASE, picked.rows)
    known = {(0,): of_plain, (1,): of_ours}
    monkeypatch.setattr(judge, "rd", lambda s: known.get(tuple(s[0]), 0.4))
    got = judge.compare(([1], [6]), ([0], [6]))["quality"]
    assert np.isnan(got) if want is None else got == pytest.approx(want)


def test_the_one_step_rd_is_what_one_gets_by_hand(model: Net) -> None:
    """RD at θ − η Σ r with a fresh attack there, written out once more."""
    plain, picked = chosen(CASE, model)
    judge = SetValue(plain, CASE, picked.rows)
    got = judge.rd((picked.order[:2], picked.kept[:2]))
    moved = Net().double()
    moved.load_state_dict(model.state_dict())
    moved.eval()
    row = picked.rows[picked.order[0]] + picked.rows[picked.order[1]]
    with torch.no_grad():
        moved.head.weight.sub_(CASE.eta * row[:15].view(3, 5))
        moved.head.bias.sub_(CASE.eta * row[15:])
    x = VALIDATION.tensors[0]
    start = seeding.noise(x, seeding.seeds(CASE.seed, "evaluation attack", indices=np.arange(len(x))))
    with torch.no_grad():
        natural = moved(x)
    at = attacked(moved, x, start, plain.rd, lambda out: kl(out, natural))
    with torch.no_grad():
        want = kl(moved(at), natural).item() / len(x)
    assert got == pytest.approx(want, rel=1e-9)


def test_declared_selection_cases_deal_whole_proportions() -> None:
    """Picks · |U| / N, which decides what is won, is that of the case each one stands for."""

    def share(case: Case) -> float:
        assert isinstance(case, SelectionCase)
        return -(-case.budget // case.group_size) * case.validation / case.pool

    from benchmarks.cases import CASES

    for case in CASES.values():
        if isinstance(case, SelectionCase):  # else quality depends on the few examples to which a last group is cut
            assert case.pool % case.group_size == case.budget % case.group_size == 0
    assert share(CASES["selection-small"]) == pytest.approx(share(CASES["selection-full"]))
    assert share(CASES["published-small"]) == pytest.approx(19 * 500 / 49_500, rel=0.1)
    assert share(CASES["published-full"]) == pytest.approx(19 * 500 / 49_500, rel=0.1)
    assert ONE_STEP.steps == 1
