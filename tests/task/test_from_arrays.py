"""Tasks from arrays: which arrays they accept, and which errors they raise."""

from typing import Any

import cases
import numpy as np
import pytest
import torch

from coreselect import CoreselectError, Task, select
from coreselect.errors import NonFiniteError, ShapeError

RNG = np.random.default_rng(0)


class TestFromArrays:
    """Tasks without a model."""

    def test_says_what_it_provides(self) -> None:
        """A task provides exactly the arrays it was given."""
        assert Task.from_arrays(labels=[0, 1, 2]).provides == {"labels"}
        full = cases.array_task()
        assert full.provides == {"features", "labels", "logits", "gradients", "example_gradients", "validation"}
        assert full.n == 24

    @pytest.mark.parametrize(
        ("arrays", "word"),
        [
            ({}, "at least one"),
            ({"features": np.zeros((3, 2)), "labels": [0, 1]}, "disagree"),
            ({"gradients": np.zeros((3, 2)), "logits": np.zeros((4, 2))}, "disagree"),
            ({"features": np.zeros(3)}, "matrix"),
            ({"features": np.zeros((3, 2), dtype=int)}, "floating"),
            ({"features": np.zeros((3, 2), dtype=complex)}, "floating"),
            ({"labels": [0.0, 1.0]}, "integers"),
            ({"labels": [[0], [1]]}, "integers"),
            ({"gradients": np.zeros((3, 2)), "validation_gradient": np.zeros(3)}, "as long as"),
            ({"gradients": np.zeros((3, 2)), "validation_gradient": np.zeros((1, 2))}, "as long as"),
            ({"features": np.zeros((3, 2)), "validation_gradient": np.zeros(2)}, "no gradients"),
            ({"gradients": np.zeros((3, 2)), "validation_gradient": np.zeros(2, dtype=bool)}, "must hold numbers"),
            ({"gradients": np.zeros((3, 0)), "validation_gradient": np.zeros(0)}, "no numbers in a row"),
            ({"features": np.ma.masked_equal(np.arange(6.0).reshape(3, 2), 3)}, "masked array"),
            ({"labels": np.ma.masked_equal(np.arange(3), 1)}, "masked array"),
            ({"gradients": np.zeros((2, 2)), "groups": [0, 0, 2]}, "groups"),
            ({"gradients": np.zeros((3, 2)), "groups": [0, 0, 1]}, "groups"),
            ({"gradients": np.zeros((2, 2)), "groups": [0, -1, 1]}, "groups"),
            ({"features": np.zeros((3, 2)), "groups": [0, 0, 1]}, "groups"),
            ({"gradients": np.zeros((2, 2)), "groups": [0, 0, 1], "labels": [0, 1]}, "disagree"),
            ({"features": [["a", "b"]]}, "features"),
            ({"features": [[1.0], [1.0, 2.0]]}, "features"),
        ],
    )
    def test_refuses_what_does_not_fit(self, arrays: Any, word: str) -> None:
        """Wrong shapes, types and lengths raise an error of one sentence that names the array."""
        with pytest.raises(ShapeError, match=word):
            Task.from_arrays(**arrays)

    def test_refuses_nothing_at_all(self) -> None:
        """Arrays of length zero raise an error."""
        with pytest.raises(CoreselectError, match="empty"):
            Task.from_arrays(features=np.zeros((0, 3)))

    @pytest.mark.parametrize("name", ["features", "logits", "gradients"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_names_rows_that_are_not_finite(self, name: str, value: float) -> None:
        """NaN and infinity raise an error that names exactly the rows that hold them."""
        array = np.zeros((40, 3))
        array[[7, 31], 1] = value
        with pytest.raises(NonFiniteError) as why:
            Task.from_arrays(**{name: array})  # type: ignore[arg-type]  # one of three arrays
        assert why.value.indices == (7, 31)

    def test_refuses_a_query_that_is_not_finite(self) -> None:
        """NaN in the validation gradient raises an error."""
        with pytest.raises(NonFiniteError, match="validation gradient"):
            Task.from_arrays(gradients=np.zeros((3, 2)), validation_gradient=[0.0, np.nan])

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        "make",
        [
            lambda a: a.astype(">f8"),
            lambda a: a[::-1][::-1],
            lambda a: np.asfortranarray(a),
            lambda a: a.astype(np.float16).astype(np.float64),
            lambda a: a.tolist(),
            lambda a: torch.from_numpy(a),
            lambda a: np.vstack([a, a])[::2],
            lambda a: a.astype(np.longdouble),
        ],
        ids=["big-endian", "reversed twice", "fortran", "rounded", "lists", "tensor", "strided", "long double"],
    )
    def test_takes_arrays_in_any_layout(self, make: Any) -> None:
        """Byte order, strides and container types do not matter and give no warning."""
        base = RNG.normal(size=(12, 5)).astype(np.float16).astype(np.float64)
        query = RNG.normal(size=5)
        given = make(base)
        plain = np.asarray(given, dtype=np.float64)
        want = select(Task.from_arrays(gradients=plain, validation_gradient=query), cases.rcs(), 5)
        got = select(Task.from_arrays(gradients=given, validation_gradient=query), cases.rcs(), 5)
        assert got.indices.tolist() == want.indices.tolist()

    @pytest.mark.filterwarnings("error")
    def test_reads_reversed_views(self) -> None:
        """An array with negative strides is read correctly."""
        base = RNG.normal(size=(12, 5))
        task = Task.from_arrays(gradients=base[::-1], validation_gradient=np.ones(5), features=base[::-1])
        chosen = select(task, cases.rcs(stratify="clusters", clusters=2, group_size=1), 4)
        assert sorted(chosen.indices.tolist()) == sorted(np.argsort(-base[::-1].sum(1))[:4].tolist())

    @pytest.mark.filterwarnings("error")
    def test_memory_mapped_arrays_stay_on_disk(self, tmp_path: Any) -> None:
        """A read-only .npy file is searched in place, without a copy and without a warning."""
        np.save(tmp_path / "g.npy", RNG.normal(size=(50, 7)).astype(np.float32))
        mapped = np.load(tmp_path / "g.npy", mmap_mode="r")
        task = Task.from_arrays(gradients=mapped, validation_gradient=np.ones(7))
        assert isinstance(task.gradients, np.memmap)
        with pytest.warns(UserWarning, match="single examples"):
            chosen = select(task, cases.rcs(groups="example", group_size=None), 5)
        assert sorted(chosen.indices.tolist()) == sorted(np.argsort(-mapped.sum(1))[:5].tolist())

    @pytest.mark.parametrize("name", ["features", "logits", "gradients"])
    def test_bfloat16_becomes_float32(self, name: str) -> None:
        """numpy has no bfloat16."""
        values = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
        given: Any = {name: values}
        assert torch.equal(torch.as_tensor(getattr(Task.from_arrays(**given), name)), values.float())

    def test_half_precision_arrays_are_raised(self) -> None:
        """float16 arrays are taken as float32."""
        task = Task.from_arrays(gradients=RNG.normal(size=(9, 4)).astype(np.float16), validation_gradient=np.ones(4))
        assert len(select(task, cases.rcs(), 4)) == 4

    def test_gradients_per_group(self) -> None:
        """With groups, each row belongs to a group: groups are picked in the order of their scores, and the last one is trimmed."""
        groups = np.array([2, 0, 0, 1, 1, 1, 2])
        task = Task.from_arrays(
            gradients=np.array([[1.0], [3.0], [2.0]]), groups=groups, validation_gradient=np.array([1.0])
        )
        chosen = select(task, cases.rcs(), 4)
        assert chosen.indices.tolist() == [3, 4, 5, 0]
        assert chosen.groups.tolist() == [1, 1, 1, 2]
        assert chosen.provenance.fingerprint.startswith("n:7-")

    def test_arrays_are_not_copied_or_changed(self) -> None:
        """The task keeps the user's arrays, and selecting does not change them."""
        g = RNG.normal(size=(12, 5))
        kept = g.copy()
        task = Task.from_arrays(gradients=g, validation_gradient=np.ones(5))
        select(task, cases.rcs(), 5)
        assert task.gradients is g
        assert np.array_equal(g, kept)

    def test_restricting_in_any_order(self) -> None:
        """A restricted task has the rows in the given order, also if that is a permutation of all."""
        task = cases.array_task(12)
        inner = cases.rcs(group_size=1, stratify=None)
        for order in ([5, 3, 11, 0], list(range(12))[::-1], [*range(1, 12), 0]):
            sub = {
                "gradients": task.gradients[order],
                "labels": task.labels[order],
                "validation_gradient": task.validation_gradient,
            }
            want, got = select(Task.from_arrays(**sub), inner, 3), select(task.restrict(order), inner, 3)
            assert got.indices.tolist() == want.indices.tolist()
            assert got.source_indices.tolist() == [order[i] for i in got.indices]
