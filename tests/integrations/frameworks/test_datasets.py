"""Claims about `datasets`: a dataset of that library is a pool, and a selection of it is such a dataset."""

from typing import Any

import numpy as np
import pytest
import stage
import text_runs

from coreselect import Task, holdout, select
from coreselect.errors import DataError, IndexFileError
from coreselect.selectors import CRAIG, Random

library = pytest.importorskip("datasets", reason="needs the extra datasets")
from coreselect_integrations.frameworks.datasets import with_weights  # noqa: E402


def images(kind: str) -> Any:
    """The images of the stage as a dataset: arrays in one of the library's formats, or pictures of Pillow."""
    x, y = (t.numpy() for t in stage.images(48).tensors)
    if kind == "pictures":
        image = pytest.importorskip("PIL.Image", reason="needs the extra data")
        shown = [image.fromarray((a.transpose(1, 2, 0) * 255).astype(np.uint8)) for a in x]
        features = library.Features({"image": library.Image(), "label": library.Value("int64")})
        return library.Dataset.from_dict({"image": shown, "label": y}, features=features)
    return library.Dataset.from_dict({"image": x, "label": y}).with_format(kind)


@pytest.mark.parametrize("kind", ["torch", "numpy", "pictures"])
def test_images_give_the_selection_of_a_tensor_dataset(kind: str) -> None:
    """The picks are those of the same images in a `TensorDataset`; those of pictures, of the same images in 8 bits."""
    rows, plain = images(kind), stage.images(48)
    if kind == "pictures":
        plain.tensors = (((plain.tensors[0] * 255).byte().float() / 255), plain.tensors[1])
    random = [select(Task.from_model(stage.Net(), pool, loss="ce"), Random(), 0.25) for pool in (rows, plain)]
    assert np.array_equal(random[0].indices, random[1].indices)
    net = stage.Net()
    got, wanted = (select(Task.from_model(net, pool, loss="ce"), CRAIG(), 0.25) for pool in (rows, plain))
    assert np.array_equal(got.indices, wanted.indices)
    chosen = got.subset(rows)
    assert isinstance(chosen, library.Dataset)
    assert [int(label) for label in chosen["label"]] == [i % stage.CLASSES for i in got.indices.tolist()]
    pool, validation = holdout(rows, 8)
    assert len(select(Task.from_model(net, pool, validation, loss="sat"), Random(), 4)) == 4


def test_the_pool_of_a_holdout_gets_the_column_too() -> None:
    """The rows are those of the held-out split's other side, in pick order, as a dataset of the library."""
    rows = images("torch")
    pool, _ = holdout(rows, 8)
    selection = select(Task.from_model(stage.Net(), pool, loss="ce"), CRAIG(), 0.25)
    chosen = with_weights(selection, pool)
    assert isinstance(chosen, library.Dataset)
    wanted = rows["label"]
    assert [int(label) for label in chosen["label"]] == [int(wanted[i]) for i in selection.source_indices.tolist()]
    assert float(np.mean(chosen["weight"])) == pytest.approx(1)


def test_a_column_holds_the_weights() -> None:
    """The column has mean 1 and the weights of the picks, in pick order; a name that is taken and another length are refused."""
    rows = images("torch")
    selection = select(Task.from_model(stage.Net(), rows, loss="ce"), CRAIG(), 0.25)
    column = np.asarray(with_weights(selection, rows)["weight"])
    assert selection.weights is not None
    assert np.allclose(column, selection.weights / selection.weights.mean(), rtol=1e-6)
    with pytest.raises(DataError, match="column 'label' already"):
        with_weights(selection, rows, "label")
    with pytest.raises(IndexFileError, match="pool of 48 examples"):
        selection.subset(rows.select(range(5)))
    with pytest.raises(DataError, match="iterable dataset"):
        Task.from_model(stage.Net(), rows.to_iterable_dataset(), loss="ce")


def test_tokens_give_the_selection_of_a_plain_dataset() -> None:
    """Text in the library's form selects as the same items in a dataset of torch."""
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from coreselect_integrations.frameworks.transformers import logits_of

    plain, net = text_runs.Sentences(), text_runs.model()
    rows = library.Dataset.from_list(
        [{k: np.asarray(v) for k, v in plain[i].items()} for i in range(len(plain))]
    ).with_format("torch")
    got, wanted = (
        select(Task.from_model(net, pool, loss="ce", call=logits_of), CRAIG(), 0.25) for pool in (rows, plain)
    )
    assert np.array_equal(got.indices, wanted.indices)
