"""Claims about the conversion between named parameters and one vector."""

import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect.errors import ShapeError
from coreselect.network.layout import Layout

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=5)


@given(shapes)
def test_flatten_then_unflatten_is_the_identity(sizes: list[list[int]]) -> None:
    """Any named tensors, scalars included, are the same afterwards and in the same order."""
    params = {f"p{i}": torch.randn(tuple(s), dtype=torch.float64) for i, s in enumerate(sizes)}
    layout = Layout.of(params)
    vector = layout.flatten(params)
    assert torch.equal(vector, oracles.flat(list(params.values())))
    assert layout.size == len(vector)
    for name, value in layout.unflatten(vector).items():
        assert torch.equal(value, params[name])


def test_the_order_is_that_of_the_layout_and_not_of_the_mapping() -> None:
    """A mapping in another order is flattened in the order of the layout."""
    layout = Layout.of({"a": torch.zeros(1), "b": torch.zeros(2)})
    assert layout.flatten({"b": torch.tensor([2.0, 3.0]), "a": torch.tensor([1.0])}).tolist() == [1, 2, 3]


def test_leading_dimensions_are_kept() -> None:
    """Leading dimensions stay: [B, 2, 3] and [B, 4] become [B, 10]."""
    params = {"w": torch.randn(5, 2, 3), "b": torch.randn(5, 4)}
    layout = Layout.of({n: p[0] for n, p in params.items()})
    rows = layout.flatten(params, batch=1)
    assert rows.shape == (5, 10)
    assert torch.equal(rows[3], layout.flatten({n: p[3] for n, p in params.items()}))


def test_unflatten_gives_views_of_the_vector() -> None:
    """A change of the vector changes the named tensors: nothing is copied."""
    vector = torch.zeros(3)
    named = Layout.of({"a": torch.zeros(3)}).unflatten(vector)
    vector[1] = 5
    assert named["a"][1] == 5


@pytest.mark.parametrize("shape", [(9,), (11,), (2, 5), ()])
def test_a_vector_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    """The message says which length is needed and which was got."""
    with pytest.raises(ShapeError, match=r"\[10\]"):
        Layout.of({"a": torch.zeros(10)}).unflatten(torch.zeros(shape))
