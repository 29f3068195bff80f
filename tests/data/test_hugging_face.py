"""Claims about image datasets of Hugging Face on disk: columns are found, splits are read, damage is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datafiles import LABELS, PIXELS, check

from coreselect.data import load
from coreselect.errors import CoreselectWarning, DataError

pytest.importorskip("PIL.Image", reason="decoding images needs coreselect[data]")
datasets: Any = pytest.importorskip("datasets", reason="reading these folders needs coreselect[datasets]")


def table(n: int = 20, *, image: str = "img", side: int = 32, **columns: Any) -> Any:
    """A dataset with one column of images and columns of class numbers."""
    from PIL import Image

    kinds = {name: datasets.ClassLabel(names=[f"c{i}" for i in range(10)]) for name in columns}
    rows = {image: [Image.fromarray(p[:side, :side]) for p in PIXELS[:n]], **columns}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({image: datasets.Image(), **kinds}))


def test_a_dataset_of_splits_is_read(tmp_path: Path) -> None:
    """Images and labels of both splits, whatever the columns are called; names come from the type of the labels."""
    train, test = table(label=LABELS.tolist()), table(4, label=LABELS[:4].tolist())
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path)
    check(load(tmp_path), PIXELS, LABELS)
    check(load(tmp_path, "test"), PIXELS[:4], LABELS[:4])
    assert load(tmp_path).classes == tuple(f"c{i}" for i in range(10))
    check(load(tmp_path, rows=3), PIXELS[:3], LABELS[:3])
    assert load(tmp_path, size=8, resize="stretch").shape == (3, 8, 8)


def test_validation_serves_as_test_and_one_table_is_training(tmp_path: Path) -> None:
    """`validation` serves with a warning; a single dataset has no test images; whole numbers called `label` are labels."""
    datasets.DatasetDict({"train": table(), "validation": table(4)}).save_to_disk(tmp_path / "both")
    with pytest.warns(CoreselectWarning, match="validation serves as the test split"):
        assert len(load(tmp_path / "both", "test")) == 4
    assert load(tmp_path / "both").labels is None
    table().add_column("label", LABELS.tolist()).save_to_disk(tmp_path / "one")
    check(load(tmp_path / "one"), PIXELS, LABELS)
    with pytest.raises(DataError, match="one dataset without splits: it has no test images"):
        load(tmp_path / "one", "test")
    table(label=[-1] * 20).save_to_disk(tmp_path / "hidden")
    assert load(tmp_path / "hidden").labels is None


def test_two_columns_of_labels_need_a_name(tmp_path: Path) -> None:
    """CIFAR-100 has fine and coarse labels: the refusal says how to name one."""
    table(fine_label=LABELS.tolist(), coarse_label=(LABELS // 2).tolist()).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=r"any of the columns fine_label, coarse_label: name one .* FOLDER@fine_label"):
        load(tmp_path)
    check(load(f"{tmp_path}@coarse_label"), PIXELS, LABELS // 2)
    with pytest.raises(DataError, match="no column 'other'"):
        load(f"{tmp_path}@other")


@pytest.mark.parametrize("how", ["torch", "numpy", "without the labels", "undecoded"])
def test_the_format_in_which_a_dataset_was_saved_makes_no_difference(tmp_path: Path, how: str) -> None:
    """Rows as tensors or arrays, hidden columns, and images as bytes are read as decoded images with labels."""
    held = datasets.DatasetDict({"train": table(label=LABELS.tolist())})
    if how == "undecoded":
        held = held.cast_column("img", datasets.Image(decode=False))
    elif how == "without the labels":
        held.set_format("numpy", columns=["img"])
    else:
        held.set_format(how)
    held.save_to_disk(tmp_path)
    check(load(tmp_path), PIXELS, LABELS)
    check(load(tmp_path, rows=3), PIXELS[:3], LABELS[:3])


def test_words_are_classes_in_the_sorted_order_of_the_training_split(tmp_path: Path) -> None:
    """The same word has the same number in both splits and in a part; a word that training does not have, or none, is refused."""
    words = ["dog", "cat", "golden retriever", "cat"]
    for folder, test in (("a", ["golden retriever", "cat"]), ("b", ["cat", "wolf"])):
        splits = {"train": table(4).add_column("label", words), "test": table(2).add_column("label", test)}
        datasets.DatasetDict(splits).save_to_disk(tmp_path / folder)
    check(load(tmp_path / "a"), PIXELS[:4], np.array([1, 0, 2, 0]))
    check(load(tmp_path / "a", "test"), PIXELS[:2], np.array([2, 0]))
    assert load(tmp_path / "a", "test").classes == ("cat", "dog", "golden retriever")
    check(load(tmp_path / "a", rows=1), PIXELS[:1], np.array([1]))
    with pytest.raises(DataError, match=r"training split does not have \(wolf\)"):
        load(tmp_path / "b", "test")
    table(2).add_column("label", ["cat", None]).save_to_disk(tmp_path / "c")
    with pytest.raises(DataError, match="rows without a word in the column 'label'"):
        load(tmp_path / "c")
    table(2).add_column("kind", ["cat", "dog"]).save_to_disk(tmp_path / "d")
    assert (
        load(tmp_path / "d").unlabelled
        == "none of its columns img, kind is known to be labels; FOLDER@column names one"
    )
    check(load(f"{tmp_path / 'd'}@kind"), PIXELS[:2], np.array([0, 1]))


def test_rows_without_a_label_are_named(tmp_path: Path) -> None:
    """A null is a missing label and no fraction, in class labels and in plain numbers."""
    table(4, label=[0, None, 1, None]).save_to_disk(tmp_path / "a")
    table(3).add_column("label", [0, 1, None]).save_to_disk(tmp_path / "b")
    for folder, said in (("a", r"no label in 2 of 4 rows .*\(row 1, 3\)"), ("b", r"1 of 3 rows .*\(row 2\)")):
        with pytest.raises(DataError, match=said):
            load(tmp_path / folder)


def test_a_number_means_the_class_of_the_training_split(tmp_path: Path) -> None:
    """Although the test split has its names in another order; a class that training lacks is refused where it occurs."""
    from PIL import Image

    def split(names: list[str], labels: list[int]) -> Any:
        rows = {"img": [Image.fromarray(p) for p in PIXELS[: len(labels)]], "label": labels}
        kinds = {"img": datasets.Image(), "label": datasets.ClassLabel(names=names)}
        return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))

    train = split(["cat", "dog"], [0, 1, 0])
    tests = {"turned": split(["dog", "cat"], [0, 1, 1]), "wider": split(["cat", "dog", "emu"], [0, 1, 1])}
    for name, test in tests.items():
        datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / name)
        read = load(tmp_path / name, "test")
        assert read.classes == ("cat", "dog")
        assert read.labels.tolist() == ([1, 0, 0] if name == "turned" else [0, 1, 1])
        assert load(tmp_path / name, "test", rows=2).labels.tolist() == read.labels[:2].tolist()
    other = split(["cat", "emu"], [0, 1])
    datasets.DatasetDict({"train": train, "test": other}).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match=r"classes that the training split does not have \(emu\)"):
        load(tmp_path / "other", "test")


def test_an_image_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    """Pillow's limit is told with the row."""
    import io

    from PIL import Image

    held = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(held, "PNG")
    kinds = datasets.Features({"img": datasets.Image()})
    rows = {"img": [{"bytes": held.getvalue(), "path": None}]}
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(tmp_path)
    with pytest.raises(DataError, match=r"row 0, cannot be decoded as an image .*exceeds limit"):
        load(tmp_path)[0]


def test_what_is_no_image_dataset_is_refused(tmp_path: Path) -> None:
    """Tables without images, damaged files and images that cannot be decoded: one sentence with the folder's name."""
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match="need a column of the type Image, there are the columns text"):
        load(tmp_path / "text")
    raw = {"image": [{"bytes": b"no image", "path": None}, None]}
    kind = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(raw, features=kind).save_to_disk(tmp_path / "raw")
    for row in (0, 1):
        with pytest.raises(DataError, match=rf"raw train, row {row},") as refusal:
            load(tmp_path / "raw")[row]
        assert "\n" not in str(refusal.value)
    table().save_to_disk(tmp_path / "cut")
    arrow = next((tmp_path / "cut").glob("*.arrow"))
    whole = arrow.read_bytes()
    for part in (0, 100, len(whole) // 2):
        arrow.write_bytes(whole[:part])
        with pytest.raises(DataError, match="cut") as refusal:
            np.stack([load(tmp_path / "cut")[i] for i in range(20)])
        assert "\n" not in str(refusal.value)
    (tmp_path / "cut" / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"cut cannot be read as a dataset of Hugging Face"):
        load(tmp_path / "cut")
