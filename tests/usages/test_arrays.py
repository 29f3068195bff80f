"""Usage (c): without a model, from gradients, a validation gradient, features and labels in .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coreselect import Selection, Task, certify, select
from coreselect.objectives import RD
from coreselect.selectors import RCS, PerClass, RCSSampled, Redraw, Windowed


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Softmax-regression gradients of real digits, as a user's program could have saved them."""
    data = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are not installed").load_digits()
    x = np.hstack([data.images.reshape(len(data.images), -1) / 16, np.ones((len(data.images), 1))])  # [N, 65]
    y = data.target
    W = np.zeros((10, 65))
    for _ in range(30):
        p = np.exp(x @ W.T)
        p /= p.sum(1, keepdims=True)
        W -= 0.5 * (p - np.eye(10)[y]).T @ x / len(x)
    p = np.exp(x @ W.T)
    p /= p.sum(1, keepdims=True)
    gradients = ((p - np.eye(10)[y])[:, :, None] * x[:, None]).reshape(len(x), -1).astype(np.float32)  # [N, 650]
    tmp_path = tmp_path_factory.mktemp("arrays")
    np.save(tmp_path / "gradients.npy", gradients[:1500])
    np.save(tmp_path / "validation_gradient.npy", gradients[1500:].mean(0))
    np.save(tmp_path / "features.npy", x[:1500].astype(np.float32))
    np.save(tmp_path / "labels.npy", y[:1500])
    return tmp_path


def task_of(files: Path) -> Any:
    """Memory-mapped arrays as a task."""
    names = ("gradients", "validation_gradient", "features", "labels")
    return Task.from_arrays(**{n: np.load(files / f"{n}.npy", mmap_mode="r") for n in names})


def test_from_files_to_an_index_file(files: Path, tmp_path: Path) -> None:
    """Groups are picked by their mean gradient's product with the validation gradient, and the file records their source."""
    task = task_of(files)
    chosen = select(task, RCS(RD(), group_size=25), 0.1, seed=4)
    assert len(chosen) == 150
    g, q = np.load(files / "gradients.npy").astype(float), np.load(files / "validation_gradient.npy").astype(float)
    for m in np.unique(chosen.groups):
        members = chosen.indices[chosen.groups == m]
        assert chosen.gains[chosen.groups == m].sum() == pytest.approx(0.01 * float(g[members].mean(0) @ q), rel=1e-4)
    assert chosen.scores is not None
    picked, rest = chosen.scores[chosen.indices], np.delete(chosen.scores, chosen.indices)
    assert picked.min() >= rest.max() - 1e-12  # one fixed query: the best groups are those of the largest score
    counts = np.bincount(task.labels[chosen.indices], minlength=10)
    assert counts.min() >= 9  # stratified by class
    chosen.save(tmp_path / "c.json")
    again = certify(Selection.load(tmp_path / "c.json"), task)
    assert again is not None
    assert chosen.certificate is not None
    assert again.value == pytest.approx(chosen.certificate.value, rel=1e-6)


@pytest.mark.parametrize(
    "selector",
    [Windowed(RCS(RD(), group_size=10), window=400), PerClass(RCS(RD(), group_size=10)), RCSSampled(), Redraw()],
)
def test_every_way_of_choosing_works_on_arrays(files: Path, selector: Any) -> None:
    """Selection by windows, by classes, and by weighted and plain draws meets the budget on memory-mapped arrays."""
    chosen = select(task_of(files), selector, 101, seed=4)
    assert len(set(chosen.indices.tolist())) == 101


def test_searches_agree_on_real_gradients(files: Path) -> None:
    """FAISS and the matrix product give the same picks on 1,500 real rows of single examples, width 650."""
    answers = []
    for search in ("exact", "faiss"):
        with pytest.warns(UserWarning, match="single examples"):
            answers.append(select(task_of(files), RCS(RD(), groups="example", search=search), 60).indices.tolist())
    assert answers[0] == answers[1]


def test_features_alone_are_enough_for_uniform_draws(files: Path) -> None:
    """With features only, uniform draws work, and RCS says what it needs."""
    task = Task.from_arrays(features=np.load(files / "features.npy"))
    assert len(select(task, Redraw(), 10)) == 10
    with pytest.raises(Exception, match="gradients"):
        select(task, RCS(), 10)
