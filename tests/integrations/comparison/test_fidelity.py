"""`coreselect fidelity` measures the effect of explicit steps, prints three tables, and refuses wrong input."""

import copy
import importlib.util
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from typer import Typer
from typer.testing import CliRunner

from coreselect import Task, holdout, select
from coreselect.attacks import PGD
from coreselect.certificates.diagnostics import rank_correlation
from coreselect.errors import BudgetError, CoreselectError, NonFiniteError, RequirementError, ShapeError
from coreselect.objectives import RD
from coreselect.selectors import RCS, GradMatch, Mixture, Random
from coreselect.support import seeding
from coreselect_integrations.cli.fidelity import fidelity as fidelity_command
from coreselect_integrations.comparison.fidelity import comparable, fidelity
from coreselect_integrations.comparison.fidelity_report import Fidelity
from coreselect_integrations.comparison.predictions import predict
from coreselect_integrations.comparison.set_value import SetValue
from coreselect_integrations.networks import NetworkSpec, Saved, load_network, make, restore, route_call, save_network
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.trained import settings_of_network
from coreselect_integrations.systems.views import two_views

WEAK = PGD(0.1, 0.05, 2)
RD_WEAK = RD("kl", attack=WEAK)
STEPPED = (None, "all")


class Net(nn.Module):
    """A tiny classifier in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten())
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def items(n: int, seed: int) -> TensorDataset:
    """Random images of 4 × 4 pixels in float64, with labels."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.rand(n, 1, 4, 4, generator=g, dtype=torch.float64), torch.randint(3, (n,), generator=g)
    return TensorDataset(x, y)


def sat(n: int = 30, u: int = 8, **settings: Any) -> Any:
    """A supervised task, the same every time."""
    with seeding.rng_kept():
        torch.manual_seed(1)
        model = Net().double()
    return Task.from_model(model, items(n, 0), items(u, 5), **{"loss": "sat", "attack": WEAK, **settings})


def acl() -> Any:
    """A contrastive task on a small network with two routes."""
    network = make(NetworkSpec("small", 1, 8, projection=2, dual_bn=True), 0).eval()
    x = torch.rand(26, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    pool, held = holdout(list(x), 6)
    return Task.from_model(network, pool, held, loss="acl", attack=WEAK, call=route_call, views=two_views)


def starts(x: Tensor, *path: Any, indices: Any) -> Tensor:
    """Random starts of some positions."""
    return seeding.noise(x, seeding.seeds(0, *path, indices=np.asarray(indices)))


def plain_rows(model: nn.Module, dataset: Any, members: Any, weights: Any) -> dict[str, Tensor]:
    """∇ of the weighted mean cross-entropy of attacked examples, in every parameter, one loop over examples."""
    model = copy.deepcopy(model).eval()
    total = 0.0
    for i, w in zip(members, weights, strict=True):
        x, y = dataset[int(i)][0][None], dataset[int(i)][1][None]

        def rise(views: Any, y: Tensor = y) -> Tensor:
            return F.cross_entropy(model(views[0]), y)

        (attacked,) = WEAK(rise, (x,), (starts(x, "attack", 0, 0, indices=[i]),))
        total = total + float(w) / len(members) * F.cross_entropy(model(attacked), y)
    names, values = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(total, values), strict=True))  # type: ignore[arg-type]


def plain_rd(model: nn.Module, dataset: Any, held: Tensor | None = None) -> tuple[float, Tensor]:
    """Mean RD of validation, on given attacked inputs or after a new attack, and the attacked inputs."""
    x = torch.stack([dataset[i][0] for i in range(len(dataset))])
    start = starts(x, "fidelity attack", indices=range(len(x)))

    def divergence(at: Tensor) -> Tensor:
        p, q = model(at).log_softmax(1), model(x).log_softmax(1)
        return (p.exp() * (p - q)).sum(1)

    (moved,) = (held,) if held is not None else WEAK(lambda views: divergence(views[0]).sum(), (x,), (start,))
    return divergence(moved).mean().item(), moved


def stepped(model: nn.Module, slopes: dict[str, Tensor], eta: float, only: str) -> nn.Module:
    """A deep copy of the model after θ ← θ − η·slope, in the parameters whose names begin so."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith(only):
                p -= eta * slopes[name]
    return model


@pytest.mark.parametrize("capture", STEPPED)
def test_true_decreases_are_those_of_an_explicit_step(capture: Any) -> None:
    """They are RD before minus RD after a step of one group on a copy of the model, with old and with new attacked inputs."""
    task, groups, eta = sat(capture=capture), [np.array([3, 7, 9]), np.array([20, 1]), np.array([12])], 0.5
    got = predict(task, RD_WEAK, groups, eta)
    before, held = plain_rd(task.model, task.validation)
    for m, group in enumerate(groups):
        slopes = plain_rows(task.model, task.pool, group, np.ones(len(group)))
        there = stepped(task.model, slopes, eta, "" if capture else "head")
        assert float(got.held[m]) == pytest.approx(before - plain_rd(there, task.validation, held)[0], abs=1e-12)
        assert float(got.recrafted[m]) == pytest.approx(before - plain_rd(there, task.validation)[0], abs=1e-12)


@pytest.mark.parametrize("capture", STEPPED)
def test_gains_are_true_decreases_where_steps_are_tiny(capture: Any) -> None:
    """With inputs held the error is of second order: at η = 1e-5 the ranks agree, and the values to four digits."""
    groups = [np.arange(3 * m, 3 * m + 3) for m in range(10)]
    got = predict(sat(capture=capture), RD_WEAK, groups, 1e-5)
    rank = rank_correlation(got.gains, got.held)
    assert rank is not None
    assert rank > 0.999
    torch.testing.assert_close(got.gains, got.held, rtol=1e-3, atol=1e-11)


@pytest.mark.parametrize("capture", STEPPED)
@pytest.mark.parametrize("weighted", [False, True])
def test_g_is_minus_rd_of_the_stepped_model(capture: Any, weighted: bool) -> None:
    """G of a set: RD, attacked anew, of a deep copy after η/g times the sum of its examples' weighted gradients."""
    task, eta, g = sat(capture=capture), 0.4, 3
    picks = np.array([4, 25, 11, 0, 17, 8, 9])
    weights = np.array([1.0, 3.0, 0.5, 2.0, 0.0, 1.0, 0.25]) if weighted else None
    share = np.ones(7) if weights is None else weights / weights.mean()
    slopes = {n: 7 / g * r for n, r in plain_rows(task.model, task.pool, picks, share).items()}
    want = -plain_rd(stepped(task.model, slopes, eta, "" if capture else "head"), task.validation)[0]
    with task.snapshot(0, 0) as shot:
        assert SetValue(shot, RD_WEAK, eta, g).value(picks, weights) == pytest.approx(want, abs=1e-12)


def test_a_selection_is_stepped_by_its_own_groups() -> None:
    """G of the picks of RCS is that of the plain sum over its groups; a trimmed group has weight kept / g."""
    task, eta = sat(), 0.4
    chosen = select(task, RCS(objective=RD_WEAK, eta=eta, group_size=3, certify=None), 8, 0)
    with task.snapshot(0, 0) as shot:
        judge = SetValue(shot, RD_WEAK, eta, 3)
        assert judge.of(chosen) == pytest.approx(judge.value(chosen.indices), abs=1e-12)


def test_a_lone_example_joins_its_neighbours_where_the_loss_is_of_a_batch() -> None:
    """4 + 1 examples under a contrastive loss are one group of 5, with weight 5/4, and its weights' mean multiplies it."""
    with acl().snapshot(0, 0) as shot:
        judge, picks = SetValue(shot, RD_WEAK, 0.1, 4), np.array([1, 6, 3, 9, 15])
        want = 1.25 * shot.rows([picks])[0].full(0)
        torch.testing.assert_close(judge.step(picks), want)
        torch.testing.assert_close(judge.step(picks, np.full(5, 7.0)), want)


def report(task: Any, **more: Any) -> Fidelity:
    """A small report."""
    given = {"rcs": RCS(objective=RD_WEAK, eta=0.3, group_size=3), "groups": 5, "sets": 4, "widths": [6], **more}
    return fidelity(task, given.pop("methods", {"rcs": RCS(), "random": Random()}), given.pop("budget", 9), **given)


@pytest.mark.parametrize("make_task", [sat, acl])
def test_a_report_answers_all_three_questions(make_task: Any) -> None:
    """The report has every correlation, method and approximation; a second report is the same; no state changes."""
    task = make_task()
    own, rng = {n: t.clone() for n, t in task.model.state_dict().items()}, torch.get_rng_state()
    got = report(task)
    assert [(a.gains, a.step) for a in got.agreements] == [
        ("head", "head"), ("head", "whole"), ("whole", "whole"), ("whole, sketched", "whole"),
    ]  # fmt: skip
    assert all(a.held is not None and -1 <= a.held <= 1 for a in got.agreements)
    assert [w.name for w in got.methods] == ["rcs", "random"]
    names = [
        "rcs",
        "1 attack step, not 2",
        "attack in bfloat16",
        "recraft every",
        "refresh every 4",
        "sketch of width 6",
    ]
    assert [c.name for c in got.costs] == names
    assert (got.costs[0].g, got.costs[0].shared) == (got.methods[0].g, 1.0)
    assert got.costs[0].kept in (None, 1.0)
    assert got.random_sd > 0
    assert got.methods[1].sds == pytest.approx((got.methods[1].g - got.random_mean) / got.random_sd)
    assert (got.budget, got.group_size, got.groups, got.sets) == (9, 3, 5, 4)
    again = report(task)
    assert (again.agreements, again.random_mean) == (got.agreements, got.random_mean)
    assert [c.g for c in again.costs] == [c.g for c in got.costs]
    assert all(torch.equal(own[n], t) for n, t in task.model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())


def test_rcs_beats_random_sets_at_its_own_game() -> None:
    """With small steps, the greedy set lowers RD by more than random sets do on average."""
    got = report(sat(60), rcs=RCS(objective=RD_WEAK, eta=0.05, group_size=3), sets=10)
    assert got.methods[0].sds is not None
    assert got.methods[0].sds > 1


def test_methods_with_weights_and_the_whole_model_are_reported() -> None:
    """GradMatch carries its weights into the step; with every parameter captured, G moves all of them."""
    whole = sat(capture="all")
    got = report(whole, methods={"gradmatch": GradMatch()}, widths=None)
    assert [w.name for w in got.methods] == ["gradmatch"]
    assert got.parameters == sum(p.numel() for p in whole.model.parameters())
    assert [c.name for c in got.costs[5:]] == ["sketch of width 64"]


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"groups": 2}, RequirementError, "3 or more random groups"),
        ({"sets": 1}, RequirementError, "2 or more random sets"),
        ({"budget": 30}, BudgetError, "all 30 examples"),
        ({"budget": 31}, BudgetError, "31"),
        ({"rcs": RCS(objective=RD_WEAK, group_size=20), "budget": 20}, RequirementError, "make 2 groups of 20"),
        ({"widths": [0]}, ShapeError, "width"),
    ],
)
def test_what_cannot_be_measured_is_refused(changed: dict[str, Any], kind: type[CoreselectError], said: str) -> None:
    """It is refused in one sentence that says what to do."""
    with pytest.raises(kind, match=said):
        report(sat(), **changed)


def test_a_step_out_of_the_numbers_is_refused() -> None:
    """It is refused for a set and for one group, with the value of η."""
    with sat().snapshot(0, 0) as shot, pytest.raises(NonFiniteError, match="smaller eta than 1e\\+308"):
        SetValue(shot, RD_WEAK, 1e308, 1).value(np.arange(20))
    with pytest.raises(NonFiniteError, match="smaller eta"):
        predict(sat(), RD_WEAK, [np.arange(3)], math.inf)


def test_tasks_that_cannot_be_stepped_are_refused() -> None:
    """Arrays have no model, and RD needs validation; single examples make no batch."""
    with pytest.raises(RequirementError, match="needs a model"):
        report(Task.from_arrays(gradients=np.eye(4), validation_gradient=np.ones(4)))
    with pytest.raises(RequirementError, match="validation"):
        report(replace(sat(), validation=None))
    with pytest.raises(RequirementError, match="groups of 2 or more, but they have 1"):
        report(acl(), rcs=RCS(objective=RD_WEAK, group_size=1))


def test_forms_of_rcs_are_compared_on_equal_terms() -> None:
    """The same method under another name has the same G and group size, and no certificate is timed."""
    own = RCS(objective=RD_WEAK, eta=0.3, group_size=3)
    same, mixed = replace(own, group_size=None, certify="instance"), Mixture([own, Random()])
    got = report(sat(), methods={"rcs": RCS(), "same": same, "mixed": mixed})
    assert got.methods[0].g == got.methods[1].g
    assert comparable(same, replace(own, certify=None)) == replace(own, certify=None)
    assert comparable(mixed, own) == Mixture([replace(own, certify=None), Random()])
    assert comparable(Random(), own) == Random()


FACTORY = """
import torch

def images(split):
    g = torch.Generator().manual_seed(0)
    return torch.utils.data.TensorDataset(torch.rand(40, 1, 8, 8, generator=g), torch.arange(40) % 2)

def bare(split): return list(images(split).tensors[0])
def large(split): return [(torch.rand(1, 16, 16), 0) for _ in range(9)]
"""
QUICK = ("--groups", 4, "--sets", 3, "--group-size", 3, "--sketch", 16, "--device", "cpu", "--fraction", 0.3,
         "--validation", 6)  # fmt: skip


def command(*words: object) -> Any:
    """Run the command alone in this process."""
    app = Typer()
    app.command()(fidelity_command)
    return CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data.py` and the `model.pt` of a training run."""
    folder = tmp_path_factory.mktemp("fidelity")
    (folder / "data.py").write_text(FACTORY)
    spec = NetworkSpec("small", 1, 8, classes=2)
    settings = Settings(
        system="sat", arch="small", attack_steps=2, step=4 / 255, validation=6, seed=3, milestones=(4, 5)
    )
    about = {n: getattr(settings, n) for n in Settings.__slots__}
    save_network(folder / "model.pt", make(spec, 3), spec, about)
    save_network(folder / "tuned.pt", make(spec, 3), spec, {"mode": "slf"})
    return folder


def test_a_checkpoint_is_reported_in_80_columns(place: Path) -> None:
    """Three tables are on stdout, and a note on stderr says that the pool is another."""
    got = command("--from", place / "model.pt", "--data", f"{place / 'data.py'}:images", *QUICK[:-2])
    assert got.exit_code == 0, got.output
    lines = got.stdout.splitlines()
    assert all(len(line) <= 80 and "…" not in line for line in lines[1:])
    for word in ("head", "whole, sketched", "3 random sets", "random", "1 attack step, not 2", "sketch of width 16"):
        assert any(word in line for line in lines), word
    assert "trained on another pool" in got.stderr


def test_a_network_trained_in_half_precision_is_reported_in_full(place: Path) -> None:
    """The cost of bfloat16 is one of the approximations, so RCS itself uses full precision."""
    saved = load_network(place / "model.pt")
    save_network(place / "half.pt", restore(saved), saved.spec, {**saved.about, "precision": "bf16"})
    answers = [
        json.loads(command("--from", place / name, "--data", f"{place / 'data.py'}:images", "--json", *QUICK).stdout)
        for name in ("model.pt", "half.pt")
    ]
    assert [c["name"] for c in answers[1]["costs"]][1:3] == ["1 attack step, not 2", "attack in bfloat16"]
    assert [a["costs"][0]["g"] for a in answers] == [answers[0]["costs"][0]["g"]] * 2


def test_a_capture_of_training_is_not_that_of_the_report(place: Path) -> None:
    """--step decides what is measured, also if the run captured all parameters; a method with another capture is refused."""
    saved = load_network(place / "model.pt")
    save_network(place / "whole.pt", restore(saved), saved.spec, {**saved.about, "capture": "all"})
    for word, code in (("rcs:capture=all", 2), ("rcs:capture=head", 0)):
        got = command(
            "--from", place / "whole.pt", "--data", f"{place / 'data.py'}:images", *QUICK, "--selectors", word
        )
        assert got.exit_code == code, got.output


def test_without_a_checkpoint_a_network_is_warmed_up_and_json_is_alone(place: Path) -> None:
    """Settings of the command line are used, and JSON has every number."""
    got = command("--data", f"{place / 'data.py'}:images", "--warmup-epochs", 0, "--eta", 0.02, "--attack-steps", 1,
                  "--loss", "acl", "--step", "all", "--json", *QUICK)  # fmt: skip
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    assert (told["eta"], told["group_size"], told["system"], told["step"]) == (0.02, 3, "acl", "all")
    rough = ["attack in bfloat16", "recraft every", "refresh every 4", "sketch of width 16"]
    assert [c["name"] for c in told["costs"]] == ["rcs", *rough]
    assert math.isfinite(told["random_sd"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--selectors", "rcs,nonesuch"), "--selectors"),
        (("--selectors", "mixture"), "--selectors"),
        (("--selectors", ","), "--selectors"),
        (("--selectors", "rcs:objective=nonesuch"), "--selectors: no objective is called"),
        (("--selectors", "rcs:capture=all"), "needs another capture or attack"),
        (("--step", "tail"), "--step"),
        (("--sketch", "64,x"), "--sketch"),
        (("--sketch", "0"), "--sketch"),
        (("--loss", "trades"), "--loss"),
        (("--validation", 2.5), "--validation"),
        (("--sets", 1), "--sets"),
        (("--from", "model.pt", "--arch", "small", "--radius", 0.1), "--arch, --radius"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: tuple[Any, ...], said: str) -> None:
    """Each message names the option."""
    got = command(*words)
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.replace("│", " ").split())


def test_a_network_of_an_earlier_version_says_enough() -> None:
    """Before `capture` was a setting, selections read gradients of the head."""
    about = asdict(defaults("sat"))
    del about["capture"]
    saved = Saved({}, NetworkSpec("small", classes=2), about)
    assert settings_of_network(saved) == defaults("sat")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "nowhere.pt"), "there is no file"),
        (("--from", "tuned.pt"), "does not say how it was trained"),
        (("--from", "model.pt", "--data", "data.py:large"), "images of 1 channels and 16 pixels"),
        (("--data", "data.py:bare"), "needs labels"),
        (("--data", "data.py:images", "--warmup-epochs", 0, "--eta", -1.0), "eta must lie"),
        (("--data", "data.py:images", "--warmup-epochs", 0, "--selectors", "aum"), "needs history"),
    ],
)
def test_refusals_are_one_sentence(
    words: tuple[Any, ...], said: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused in one sentence before anything is measured."""
    monkeypatch.chdir(place)
    got = command(*words)
    assert isinstance(got.exception, CoreselectError), got.output
    assert said in str(got.exception)
    assert str(got.exception).count(". ") == 0


def test_digits_are_the_data_without_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults name a data set that the extra `data` brings."""
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("digits come with scikit-learn")
    got = command("--rows", 40, "--warmup-epochs", 0, "--json", *QUICK)
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout)["data"] == "digits"


def test_gradients_may_be_attacked_further_out_than_rd(place: Path) -> None:
    """--train-radius moves the attack of the gradients and not that of RD; a factor and its number are one."""
    base = ("--from", place / "model.pt", "--data", f"{place / 'data.py'}:images", "--json", *QUICK)
    plain, factor, number = (
        json.loads(command(*base, *words).stdout)
        for words in ((), ("--train-radius", "3x"), ("--train-radius", 24 / 255))
    )
    assert plain["rd"] == factor["rd"] == number["rd"]
    assert factor["random_mean"] == pytest.approx(number["random_mean"], rel=1e-6)
    assert factor["random_mean"] != plain["random_mean"]
    got = command(*base, "--train-radius", "wide")
    assert got.exit_code == 2
