"""Claims about datasets of the user's on the command line: every form of an image is read as (float image, label)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from coreselect.data import labels_of, names_of
from coreselect.data.conditions import Conditions
from coreselect.data.own_items import OwnItems, with_images
from coreselect.errors import DataError

N = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)  # [N, H, W, C]
X = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))  # [N, C, H, W]


class Items:
    """Items that a function makes of each position."""

    classes = ("a", "b", "c")

    def __init__(self, item: Callable[[int], Any], labels: Any = None) -> None:
        self.item, self.labels = item, labels

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


def pictures(index: int) -> Any:
    image = pytest.importorskip("PIL.Image", reason="needs the extra data")
    return image.fromarray(PIXELS[index])


FORMS: dict[str, Callable[[int], Any]] = {
    "Pillow": lambda i: (pictures(i), i % 3),
    "array": lambda i: (PIXELS[i], i % 3),
    "list, and more": lambda i: [PIXELS[i], i % 3, "name"],
    "mapping": lambda i: {"image": pictures(i), "label": i % 3},
    "mapping of tensors": lambda i: {"pixel_values": X[i], "labels": torch.tensor(i % 3), "name": "x"},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_a_float_image_and_a_label(form: str) -> None:
    """Images are pixels ÷ 255, [C, H, W]; batches are those of a plain data set; labels and names that are listed stay."""
    made = with_images(Items(FORMS[form], labels=[i % 3 for i in range(N)]))
    x, y = next(iter(DataLoader(made, N)))
    assert torch.equal(x, X)
    assert y.tolist() == [i % 3 for i in range(N)]
    assert labels_of(made) is not None
    assert names_of(made) == ("a", "b", "c")


def test_an_image_without_a_label_stays_alone() -> None:
    """Methods without labels get images, from mappings too."""
    for item in (lambda i: PIXELS[i], lambda i: {"image": PIXELS[i]}):
        made = with_images(Items(item))
        assert isinstance(made, OwnItems)
        assert torch.equal(made[2], X[2])


@pytest.mark.parametrize(
    "item",
    [
        lambda i: (X[i], i), lambda i: X[i], lambda i: {"input_ids": X[i], "label": i}, lambda i: (np.zeros((3, 6, 6)), i),
        lambda i: "text", lambda i: {"text": "x"}, lambda i: (), lambda i: 1 / 0,
    ],
)  # fmt: skip
def test_what_needs_no_conversion_is_left_as_it_is(item: Callable[[int], Any]) -> None:
    """Tensors, tokenised text, float arrays, and what cannot be read: whoever reads them says so."""
    data = Items(item)
    assert with_images(data) is data


def test_a_later_item_without_an_image_is_named() -> None:
    """One sentence has the position."""
    made = with_images(Items(lambda i: (PIXELS[i], 0) if i < 3 else ("x", 0)))
    with pytest.raises(DataError, match="item 4 holds no image"):
        made[4]


@pytest.mark.parametrize("form", [*FORMS, "text"])
def test_an_impure_pool_keeps_the_form_of_the_items(form: str) -> None:
    """A wrong label takes the place of the right one in tuples and in mappings, and everything else stays."""
    item = FORMS.get(form, lambda i: {"input_ids": X[i], "labels": i % 3})
    data = Items(item)
    made = Conditions.parse("labels-wrong=0.5").applied(data, np.arange(N) % 3, seed=0)
    for i in range(N):
        got, own = made[i], item(i)
        if isinstance(own, dict):
            assert got.keys() == own.keys()
            assert got.get("label", got.get("labels")) == made.targets[i]
        else:
            assert got[1] == made.targets[i]
