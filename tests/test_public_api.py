"""Claims about names and parameters that others rely on (the public interface)."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from torch.utils.data import Sampler

import coreselect
from coreselect import (
    Certificate,
    CoreselectError,
    CoresetSampler,
    Indexed,
    Normalized,
    Selection,
    Selector,
    Task,
    certify,
    get_selector,
    holdout,
    list_selectors,
    select,
)
from coreselect.attacks import PGD
from coreselect.errors import UnknownNameError
from coreselect.losses import SAT
from coreselect.objectives import RD
from coreselect.objectives.following import following
from coreselect.selectors import COMBINATORS, RCS, RS2, SELECTORS, Random, Redraw


def accepts(thing: Callable[..., Any], *names: str, **defaults: Any) -> None:
    """Assert that a callable has these parameters, and those defaults."""
    parameters = inspect.signature(thing).parameters
    for name in (*names, *defaults):
        assert name in parameters, f"{thing} has no parameter {name}"
    for name, value in defaults.items():
        assert parameters[name].default == value, f"{thing}: {name}={parameters[name].default!r}, not {value!r}"


def test_the_top_level_names() -> None:
    """Every name of the public list is there, and `__all__` lists exactly what the package offers."""
    for thing in (Selection, Task, Selector, Certificate, select, certify, CoresetSampler, Indexed, Normalized):
        assert thing.__name__ in coreselect.__all__
    for name in ("get_selector", "list_selectors", "holdout", "CoreselectError"):
        assert name in coreselect.__all__
    assert sorted(coreselect.__all__) == coreselect.__all__
    assert all(hasattr(coreselect, n) for n in coreselect.__all__)


def test_parameters() -> None:
    """Signatures have the published parameters with the published defaults."""
    accepts(holdout, "dataset", size=0.01, seed=0)
    accepts(
        Task.from_model,
        *("model", "pool", "validation"),
        loss="sat",
        attack=None,
        attack_at=None,
        head=None,
        capture=None,
        call=None,
        views=None,
        unpack=None,
        batch_size=256,
        num_workers=0,
        device=None,
    )
    accepts(
        Task.from_arrays,
        features=None,
        labels=None,
        logits=None,
        gradients=None,
        groups=None,
        validation_gradient=None,
    )
    accepts(select, "task", "selector", "budget", seed=0)
    accepts(certify, "selection", "task", "method")
    accepts(
        CoresetSampler,
        "task",
        "selector",
        "budget",
        warmup=10,
        every=10,
        seed=0,
        shuffle=True,
        rank=None,
        world_size=None,
    )
    accepts(PGD, "radius", "step", "steps", norm="linf", random_start=True)
    accepts(
        RCS,
        "objective",
        eta=0.01,
        groups="batch",
        group_size=None,
        stratify="auto",
        recraft="once",
        refresh=1,
        search="auto",
        certify="instance",
    )
    accepts(Normalized, "model", "mean", "std")


def test_published_settings() -> None:
    """RD's defaults are KL and the task's ball: with the published attack of SAT, PGD 8/255 with 3 steps of 10/765 in [0, 1]."""
    assert RD().attack is None
    assert following(RD(), SAT().default_attack).attack == PGD(8 / 255, 10 / 765, 3)
    assert RD().divergence == "kl"
    assert PGD(0.1, 0.1, 1).bounds == (0, 1)
    assert RCS(objective=RD("kl")) == RCS()


def test_records_have_their_fields() -> None:
    """Selection and Certificate have the published fields, and Selection its methods."""
    assert {f.name for f in fields(Selection)} >= {
        *("indices", "source_indices", "groups", "gains", "weights", "scores", "nested", "certificate", "provenance")
    }
    assert [f.name for f in fields(Certificate)][:5] == ["method", "value", "upper_bound", "ratio", "assumptions"]
    for method in ("save", "load", "subset"):
        assert callable(getattr(Selection, method))


def test_selectors_by_name() -> None:
    """Every built-in name makes its selector or says which argument it lacks; unknown names are refused with the known."""
    assert list_selectors()[: len(SELECTORS)] == list(SELECTORS)
    assert {"rcs", "rcs_sampled", "random", "redraw", "rs2", "per_class", "windowed", "mixture"} <= set(SELECTORS)
    assert get_selector("rcs", eta=0.5) == RCS(eta=0.5)
    assert get_selector("windowed", selector=Random(), window=5).name == "windowed"
    with pytest.raises(UnknownNameError, match="rs2"):
        get_selector("craig_by_hand")
    for name, settings in (("rcs", {"etta": 1}), ("per_class", {})):
        with pytest.raises(CoreselectError, match=name):
            get_selector(name, **settings)
    for combinator in COMBINATORS:
        needs = "selectors" if combinator.name == "mixture" else "selector"
        with pytest.raises(
            CoreselectError, match=rf"'{combinator.name}' needs {needs}: get_selector\('{combinator.name}'"
        ):
            get_selector(combinator.name)
    with pytest.raises(CoreselectError, match="is no selector"):
        get_selector("mixture", selectors=["rcs"])


def test_protocol_members() -> None:
    """A selector has name, requires, renew and select(task, budget, *, generator, round=0)."""
    for selector in (RCS(), Random(), Redraw(), RS2()):
        assert isinstance(selector, Selector)
        accepts(selector.select, "task", "budget", "generator", round=0)
        kinds = inspect.signature(selector.select).parameters
        assert kinds["generator"].kind is inspect.Parameter.KEYWORD_ONLY
    assert (Random().renew, RCS().renew, RS2().renew) == ("never", "round", "epoch")
    assert issubclass(CoresetSampler, Sampler)
    assert issubclass(CoreselectError, Exception)


@pytest.mark.parametrize(
    "settings",
    [
        {"eta": 0},
        {"eta": float("nan")},
        {"groups": "pairs"},
        {"group_size": 0},
        {"group_size": 1.5},
        {"group_size": True},
        {"refresh": 0},
        {"recraft": 0},
        {"recraft": "sometimes"},
        {"certify": "proof"},
        {"stratify": "classes"},
        {"search": "annoy"},
        {"clusters": 0},
    ],
)
def test_impossible_settings_are_refused_when_they_are_given(settings: Any) -> None:
    """RCS refuses a setting it does not know when it is made, not an hour later."""
    with pytest.raises(CoreselectError):
        RCS(**settings)
