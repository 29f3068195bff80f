"""A selection can be certified again later."""

from dataclasses import replace
from typing import Any

import cases
import pytest
import torch

from coreselect import CoresetSampler, Selection, certify, select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import RD, AdversarialCE, Custom
from coreselect.selectors import Random

SETTINGS: dict[str, Any] = {
    "published": {},
    "trimmed": {"group_size": 5},
    "clusters": {"stratify": "clusters", "clusters": 3},
    "one route": {"objective": RD("js", attack=cases.WEAK, routes="one")},
    "recrafting": {"recraft": "every"},
    "l2": {"objective": RD("kl", attack=PGD(0.5, 0.2, 2, norm="l2", bounds=None))},
    "refresh": {"refresh": 2, "search": "faiss", "group_size": 2},
}


@pytest.mark.parametrize("which", SETTINGS)
def test_certifying_later_gives_what_the_selection_carries(which: str, tmp_path: Any) -> None:
    """For a selection from a file, certify rebuilds the selector from provenance and gives the saved certificate."""
    task = cases.acl_task(16) if which == "refresh" else cases.sat_task(16)
    chosen = select(task, cases.rcs(**SETTINGS[which]), 9, 3, round=2)
    chosen.save(tmp_path / "c.npz")
    again = certify(Selection.load(tmp_path / "c.npz"), task)
    assert again is not None
    assert chosen.certificate is not None
    assert again.value == pytest.approx(chosen.certificate.value, rel=1e-9, abs=1e-18)
    assert again.upper_bound == pytest.approx(chosen.certificate.upper_bound, rel=1e-9, abs=1e-18)
    assert again.assumptions == chosen.certificate.assumptions


def test_certifying_later_by_another_method() -> None:
    """A selection with no certificate, or with one kind, can get every kind later."""
    task = cases.sat_task(16)
    bare = select(task, cases.rcs(certify=None), 7)
    assert bare.certificate is None
    for method in ("instance", "paper", "sampled"):
        sealed = select(task, cases.rcs(certify=method), 7).certificate
        later = certify(bare, task, method)  # type: ignore[arg-type]
        assert later is not None
        assert sealed is not None
        assert later.value == pytest.approx(sealed.value, rel=1e-9)


def test_certifying_arrays_later() -> None:
    """Without a model f is linear, the bound is the best sum of gains, and the certificate says so."""
    task = cases.array_task(24)
    chosen = select(task, cases.rcs(group_size=1), 7)
    c = certify(chosen, task)
    assert c is not None
    assert c.upper_bound == pytest.approx(c.value, rel=1e-6)
    assert any("linear" in a for a in c.assumptions)


def test_what_cannot_be_certified_is_refused() -> None:
    """Other pools, other groups, selectors without certificates and unknown callables raise an error of one sentence."""
    task = cases.sat_task(16)
    chosen = select(task, cases.rcs(), 7)
    with pytest.raises(RequirementError, match="pool of 16"):
        certify(chosen, cases.sat_task(17))
    with pytest.raises(RequirementError, match="groups are not the groups of this task"):
        certify(replace(chosen, provenance=replace(chosen.provenance, seed=5)), task)
    with pytest.raises(RequirementError, match="no certificate"):
        certify(select(task, Random(), 5), task)
    own = cases.rcs(objective=Custom(lambda a, n, y: (a - n).pow(2).sum(1), attack=cases.WEAK))
    with pytest.raises(RequirementError, match="selector="):
        certify(select(task, own, 7), task)
    assert certify(select(task, own, 7), task, "sampled", selector=own) is not None
    with pytest.raises(RequirementError, match="needs values"):
        select(cases.array_task(12), cases.rcs(certify="paper"), 5)


def test_where_no_instance_certificate_applies_there_is_none() -> None:
    """For cross-entropy the curvature does not apply, and sketched rows are not full rows: there is no certificate."""
    assert select(cases.sat_task(12), cases.rcs(objective=AdversarialCE(attack=cases.WEAK)), 5).certificate is None
    assert select(cases.sat_task(12), cases.rcs(sketch=Sketch(8)), 5).certificate is None
    assert select(cases.sat_task(12, capture="all"), cases.rcs(), 5).certificate is None


def test_a_sketch_as_wide_as_the_rows_is_still_a_sketch() -> None:
    """A sketch of width P gets no instance certificate either, because its rows are not the full rows."""
    assert select(cases.sat_task(12), cases.rcs(sketch=Sketch(52)), 5).certificate is None


def test_a_sampler_s_selection_is_certified_with_the_task_that_the_sampler_got() -> None:
    """The sampler shortens the loss's own attack; certifying later takes the steps that the selection recorded."""
    task = cases.sat_task(16, attack=None)
    sampler = CoresetSampler(task, cases.rcs(), 9, warmup=0, every=1, seed=3)
    sampler.set_epoch(0)
    chosen = sampler.selection
    assert chosen is not None
    assert chosen.provenance.task["attack"]["steps"] == 1
    again = certify(chosen, task)
    assert again is not None
    assert chosen.certificate is not None
    assert again.value == pytest.approx(chosen.certificate.value, rel=1e-9, abs=1e-18)
    with pytest.raises(RequirementError, match="attack"):
        certify(chosen, cases.sat_task(16, attack=PGD(0.1, 0.1, 2)))


def test_the_layout_of_the_weights_makes_no_other_task() -> None:
    """A selection of a model in one memory format is certified with the same model in the other."""
    chosen = select(cases.sat_task(16), cases.rcs(), 9, 3)
    task = cases.sat_task(16, model=cases.built(cases.ConvNet).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    again = certify(chosen, task)
    assert again is not None
    assert chosen.certificate is not None
    assert again.value == pytest.approx(chosen.certificate.value, rel=1e-6)
