"""Models under DDP and FSDP are selected with as the bare model is: the same bits, and the wrapped model is left alone."""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import torch
from processes import in_two_processes
from torch import nn

from coreselect import CoresetSampler, plan, select
from coreselect.errors import CoreselectError

N = 14
KINDS = ("ddp", "fsdp2", "fsdp1")


def _model() -> Any:
    return cases.built(cases.ConvNet, dtype=torch.float32)


def _wrapped(kind: str, model: Any) -> Any:
    """Wrap a model as a training script does; one layer is wrapped by itself too."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if kind == "fsdp2":
        mesh = init_device_mesh("cpu", (2,))
        fully_shard(model.fc, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    options: dict[str, Any] = {"use_orig_params": kind == "fsdp1", "device_id": torch.device("cpu")}
    model.fc = FullyShardedDataParallel(model.fc, **options)
    return FullyShardedDataParallel(model, **options)


def _task(model: Any, **more: Any) -> Any:
    return cases.sat_task(N, dtype=torch.float32, batch_size=4, model=model, **more)


def _bits(selection: Any) -> dict[str, Any]:
    plain = asdict(selection)
    plain["provenance"].pop("seconds")
    return plain


def _step(model: Any) -> float:
    """Make a training step, and return the loss."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(model(cases.images(4, dtype=torch.float32)), cases.classes(4))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss)


def _work(rank: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    out: dict[str, Any] = {}
    for kind in KINDS:
        wrapped, untouched = _wrapped(kind, _model()), _wrapped(kind, _model())
        for capture in (None, "all"):
            chosen = select(_task(wrapped, capture=capture), cases.rcs(), 6, 3, share=True)
            out[f"{kind} {capture}"] = _bits(chosen)
        if kind != "ddp":  # which looks under wrappers around the whole model alone
            inside = _task(nn.Sequential(_wrapped(kind, _model())), head="0.fc")
            out[f"{kind} inside"] = select(inside, cases.rcs(), 6, 3, share=True).indices.tolist()
        out[f"{kind} trains"] = (_step(wrapped), _step(untouched), _step(wrapped), _step(untouched))
        out[f"{kind} training"] = wrapped.training
    sampler = CoresetSampler(_task(_wrapped("fsdp2", _model())), cases.rcs(), 6, warmup=0, every=1, seed=3)
    sampler.set_epoch(0)
    out["sampler"] = _bits(sampler.selection)
    said = []
    flat = _wrapped("flat", _model())
    alone = _task(_wrapped("fsdp2", _model()))
    for refused in (lambda: _task(flat), lambda: select(alone, cases.rcs(), 6), lambda: plan(alone, cases.rcs(), 6)):
        try:
            refused()
            said.append("")
        except CoreselectError as why:
            said.append(str(why))
    out["refused"] = said
    return out


@pytest.fixture(scope="module")
def found(tmp_path_factory: Any) -> list[dict[str, Any]]:
    return in_two_processes(_work, Path(tmp_path_factory.mktemp("spread")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("capture", [None, "all"])
def test_a_wrapped_model_gives_the_bits_of_the_bare_one(kind: str, capture: str | None, found: Any) -> None:
    """Every field of the selection, the digest of the weights and the certificate included, is that of the bare model."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        want = _bits(select(_task(_model(), capture=capture), cases.rcs(), 6, 3))
    finally:
        torch.set_num_threads(threads)
    for rank in found:
        np.testing.assert_equal(rank[f"{kind} {capture}"], want)
        if kind == "fsdp2" and capture is None:
            assert rank["sampler"]["indices"].tolist() == want["indices"].tolist()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ddp"])
def test_a_head_inside_a_wrapper_is_named_as_in_the_bare_model(kind: str, found: Any) -> None:
    """A model holds a wrapped one that wraps its last layer: the name of the head leaves the wrappers out."""
    want = select(_task(nn.Sequential(_model()), head="0.fc"), cases.rcs(), 6, 3).indices.tolist()
    assert [rank[f"{kind} inside"] for rank in found] == [want, want]


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_as_if_nothing_had_been_selected(kind: str, found: Any) -> None:
    """Two steps after a selection have the losses of two steps without one, and the mode is as before."""
    for rank in found:
        first, want_first, second, want_second = rank[f"{kind} trains"]
        assert (first, second) == (want_first, want_second)
        assert second < first
        assert rank[f"{kind} training"] == (kind != "fsdp2")  # a new wrapper is in training mode; the model was not


def test_what_cannot_be_gathered_is_one_sentence(found: Any) -> None:
    """FSDP1 without its own parameters, and a rank that selects, or plans, alone, are refused before any work."""
    for rank in found:
        flat, alone, planned = rank["refused"]
        assert "use_orig_params=True" in flat
        assert "spread over 2 ranks by FSDP" in alone
        assert alone == planned
