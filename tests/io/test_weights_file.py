"""Weights are read whole, without running code, and under the model's names; every flipped bit is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from coreselect.errors import DataError
from coreselect.io.weights_file import find_weights, load_verified, put_weights
from coreselect.support.seeding import rng_kept


def network(seed: int = 0) -> nn.Module:
    with rng_kept():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3))


def same(a: Any, b: Any) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def read(path: Path, names: Any) -> tuple[Any, str | None]:
    """Return the weights and None, or None and the sentence of a refusal."""
    try:
        return find_weights(load_verified(path), names, path).weights, None
    except DataError as why:
        return None, str(why)


def test_no_flipped_bit_loads_as_other_weights(tmp_path: Path) -> None:
    """At 600 places of a file, a flipped bit is refused in one sentence, or the weights are bit for bit the same."""
    path, weights = tmp_path / "m.pt", network().state_dict()
    torch.save(weights, path)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for at in rng.choice(len(whole), 600, replace=False):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        found, said = read(path, weights.keys())
        refused += said is not None
        assert found is None or same(found, weights)
        assert "\n" not in (said or "")
    assert refused > 100


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_is_refused(share: float, tmp_path: Path) -> None:
    """At any length."""
    path = tmp_path / "m.pt"
    torch.save(network().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="cannot be read as weights"):
        load_verified(path)


class Calls:
    """Something that runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/never",)


def test_what_a_pickle_would_run_is_named(tmp_path: Path) -> None:
    """The function or the class that blocks it is in the sentence, and is not called."""
    path = tmp_path / "m.pt"
    torch.save({"model": network().state_dict(), "hook": Calls()}, path)
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.system, and no code of a file is run"):
        load_verified(path)
    torch.save(network(), path)
    with pytest.raises(DataError, match=r"asks for torch\.nn\.modules\.container\.Sequential"):
        load_verified(path)


Rename = Callable[[str], str]
NAMES: dict[str, Rename] = {
    "as they are": lambda n: n,
    "DDP": lambda n: f"module.{n}",
    "compiled": lambda n: f"_orig_mod.{n}",
    "compiled DDP": lambda n: f"module._orig_mod.{n}",
    "in a trainer": lambda n: f"model.{n}",
    "in a net": lambda n: f"net.{n}",
}


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state_dict", "net", "state_dict_ema", "odd"])
@pytest.mark.parametrize("wrapped", NAMES)
def test_usual_keys_and_prefixes_are_found(wrapped: str, key: str | None, tmp_path: Path) -> None:
    """One set of weights, under any key and one common prefix, is the model's."""
    path, weights = tmp_path / "m.pt", network().state_dict()
    held: Any = {NAMES[wrapped](n): v for n, v in weights.items()}
    torch.save(held if key is None else {key: held, "epoch": 3, "args": ["a"]}, path)
    found = find_weights(load_verified(path), weights.keys(), path)
    assert same(found.weights, weights)
    assert found.key == key
    assert ("names" in found.said) == (wrapped != "as they are")


@pytest.mark.parametrize("prefix", ["module.", "model.", "encoder."])
def test_a_prefix_is_put_before_where_names_fit_then(prefix: str, tmp_path: Path) -> None:
    """A bare network's weights load into a model that holds it as its only child."""
    weights = network().state_dict()
    found = find_weights(dict(weights), [prefix + n for n in weights], tmp_path)
    assert same(found.weights, {prefix + n: v for n, v in weights.items()})
    assert repr(prefix) in found.said


def test_one_prefix_is_exchanged_for_another() -> None:
    """DataParallel saves `module.`, where a model that holds the network has `model.` before its names."""
    weights = network().state_dict()
    found = find_weights({f"module.{n}": v for n, v in weights.items()}, [f"model.{n}" for n in weights], Path("w.pt"))
    assert same(found.weights, {f"model.{n}": v for n, v in weights.items()})
    assert found.said == "names without 'module.', and with 'model.' before"


def test_names_that_do_not_fit_are_those_of_the_nearest_form() -> None:
    """So that an error names the one tensor that is missing, and not all of them twice."""
    weights = network().state_dict()
    left_out = next(iter(weights))
    held = {n: v for n, v in weights.items() if n != left_out}
    found = find_weights(held, [f"model.{n}" for n in weights], Path("w.pt"))
    assert {f"model.{n}" for n in weights} - found.weights.keys() == {f"model.{left_out}"}


def test_a_query_encoder_is_taken_and_its_key_encoder_left(tmp_path: Path) -> None:
    """As MoCo saves both."""
    query, key = network(0).state_dict(), network(1).state_dict()
    held = {f"encoder_q.{n}": v for n, v in query.items()} | {f"encoder_k.{n}": v for n, v in key.items()}
    found = find_weights({"state_dict": {**held, "queue": torch.zeros(3)}}, query.keys(), tmp_path)
    assert same(found.weights, query)


def test_names_that_fit_only_in_part_are_not_changed(tmp_path: Path) -> None:
    """The error of the model then names what is missing in the file's own names."""
    weights = {f"module.{n}": v for n, v in network().state_dict().items()} | {"other.weight": torch.zeros(1)}
    assert find_weights(weights, network().state_dict().keys(), tmp_path).weights.keys() == weights.keys()


def test_of_several_sets_the_key_decides(tmp_path: Path) -> None:
    """Without it, the usual key is taken, and the others are said; an unknown key is refused with those that there are."""
    one, two = network(0).state_dict(), network(1).state_dict()
    held = {"state_dict": one, "state_dict_ema": two, "epoch": 4}
    first = find_weights(held, one.keys(), tmp_path / "m.pt")
    assert same(first.weights, one)
    assert "state_dict_ema" in first.said
    assert same(find_weights(held, one.keys(), tmp_path, "state_dict_ema").weights, two)
    with pytest.raises(DataError, match=r"weights under 'state_dict', 'state_dict_ema', not under 'ema'"):
        find_weights(held, one.keys(), tmp_path / "m.pt", "ema")


def test_weights_that_do_not_fit_are_refused_in_one_sentence_and_fitting_ones_arrive() -> None:
    """Another shape, a missing name, and complex numbers, of which torch would keep the real part without a word."""
    model, weights = network(0), network(1).state_dict()
    put_weights(model, weights, "w.pt")
    assert same(model.state_dict(), weights)
    for name, tensor, said in (
        ("0.weight", weights["0.weight"] + 1j, "w.pt does not fit the model: '0.weight' holds complex numbers"),
        ("0.bias", torch.zeros(4), "size mismatch for 0.bias"),
        ("9.bias", torch.zeros(4), "9.bias"),
    ):
        with pytest.raises(DataError, match=said):
            put_weights(model, {**weights, name: tensor}, "w.pt")
    waves = nn.Linear(3, 2, dtype=torch.complex64)
    put_weights(waves, {n: torch.full_like(t, 1j) for n, t in waves.state_dict().items()}, "w.pt")
    assert bool((waves.weight == 1j).all())


@pytest.mark.parametrize(
    "held", [3, [network().state_dict()], {}, {"epoch": 3}, {"model": {}}, torch.zeros(3), None], ids=repr
)
def test_what_holds_no_weights_is_refused(held: Any, tmp_path: Path) -> None:
    """The sentence says what there is."""
    with pytest.raises(DataError, match="a state dict is needed"):
        find_weights(held, ["weight"], tmp_path / "m.pt")


def test_safetensors_are_read(tmp_path: Path) -> None:
    """And refused where they are damaged or missing."""
    library = pytest.importorskip("safetensors.torch", reason="safetensors is optional")
    path, weights = tmp_path / "m.safetensors", network().state_dict()
    library.save_file(weights, path)
    assert same(find_weights(load_verified(path), weights.keys(), path).weights, weights)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        load_verified(path)
    with pytest.raises(DataError, match="there is no file"):
        load_verified(tmp_path / "none.safetensors")
