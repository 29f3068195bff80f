"""Claims about the history: it equals a slow diary of every prediction, however it is filled, saved and restricted."""

import io
from itertools import pairwise
from typing import Any

import cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from coreselect import Indexed, Task, select
from coreselect.errors import NonFiniteError, RequirementError, ShapeError
from coreselect.history import History
from coreselect.losses import CE
from coreselect.selectors import AUM, Forgetting

C = 3


class Diary:
    """A diary that keeps all logits of every example in order and computes sums when they are needed."""

    def __init__(self, n: int) -> None:
        self.rows: list[list[tuple[list[float], int]]] = [[] for _ in range(n)]

    def record(self, indices: Any, logits: torch.Tensor, labels: Any) -> None:
        for i, z, y in zip(indices, logits, labels, strict=True):
            self.rows[int(i)].append((z.double().tolist(), int(y)))

    def forgotten(self, i: int) -> tuple[int, bool]:
        right = [max(range(C), key=lambda c: (z[c], -c)) == y for z, y in self.rows[i]]
        return sum(a and not b for a, b in pairwise(right)), any(right)

    def mean(self, i: int, what: Any) -> float:
        return sum(what(z, y) for z, y in self.rows[i]) / len(self.rows[i])


def p(z: list[float]) -> list[float]:
    e = [np.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


def margin(z: list[float], y: int) -> float:
    return z[y] - max(v for c, v in enumerate(z) if c != y)


def el2n(z: list[float], y: int) -> float:
    return sum((q - (c == y)) ** 2 for c, q in enumerate(p(z))) ** 0.5


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 12))
def test_equals_a_diary(seed: int, n: int, batches: int) -> None:
    """For any batches, with repeated examples and changing labels, every column equals that of the diary to 1e-12."""
    rng = np.random.default_rng(seed)
    history, diary = History(n), Diary(n)
    for _ in range(batches):
        size = int(rng.integers(0, 6))
        i, y = rng.integers(0, n, size), rng.integers(0, C, size)
        z = torch.from_numpy(rng.normal(size=(size, C)).round(1))  # ties now and then
        history.record(torch.from_numpy(i), z, torch.from_numpy(y))
        diary.record(i, z, y)
    record = history.at(np.arange(n))
    assert record.seen.tolist() == [len(rows) for rows in diary.rows]
    assert record.forgetting.tolist() == [f if ever else np.inf for f, ever in map(diary.forgotten, range(n))]
    known = np.flatnonzero(record.seen)
    some = history.at(known)
    for got, what in (
        (some.aum, margin),
        (some.el2n, el2n),
        (some.confidence, lambda z, y: p(z)[y]),
        (some.variability**2 + some.confidence**2, lambda z, y: p(z)[y] ** 2),
    ):
        np.testing.assert_allclose(got, [diary.mean(i, what) for i in known.tolist()], rtol=1e-12, atol=1e-12)
    last = [diary.rows[i][-1] for i in known]
    np.testing.assert_allclose(some.loss, [-np.log(p(z)[y]) for z, y in last])
    np.testing.assert_allclose(some.last_el2n, [el2n(z, y) for z, y in last], rtol=1e-12, atol=1e-12)


def test_by_hand() -> None:
    """An example that is correct, wrong, correct, wrong is forgotten twice; logits (2, 0, 1) of class 0 have margin 1."""
    history = History(2)
    for z in ([2.0, 0, 1], [0.0, 3, 1], [4.0, 0, 1], [0.0, 1, 1]):
        history.record([0], torch.tensor([z]), [0])
    history.record([1], torch.tensor([[0.0, 1.0, 0.0]]), [0])
    record = history.at(np.array([0, 1]))
    assert record.seen.tolist() == [4, 1]
    assert record.forgetting.tolist() == [2, np.inf]
    assert record.aum.tolist() == [(1 - 3 + 3 - 1) / 4, -1]
    assert record.attacked is False


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_logits_of_any_precision_are_summed_in_float64(dtype: torch.dtype) -> None:
    """The sums are those of the rounded logits, and the autograd graph of the logits is neither kept nor changed."""
    z = (torch.randn(5, C, generator=torch.Generator().manual_seed(0)) * 30).to(dtype).requires_grad_()
    low, high = History(5), History(5)
    low.record(range(5), z, torch.zeros(5, dtype=torch.int64))
    high.record(range(5), z.detach().double(), torch.zeros(5, dtype=torch.int64))
    for name, column in low.state_dict().items():
        if isinstance(column, torch.Tensor):
            assert torch.equal(column, high.state_dict()[name]), name


def test_continues_from_its_state() -> None:
    """Half of the batches, a saved and loaded state, and the other half equal all batches; the state is a copy."""
    whole, first = cases.history(9), cases.history(9)
    kept = first.state_dict()
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    buffer.seek(0)
    second = History(9)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    more = torch.randn(9, cases.CLASSES, generator=torch.Generator().manual_seed(1))
    for history in (whole, second):
        history.record(range(9), more, [0] * 9, attacked=True)
    assert kept["seen"].tolist() == [6] * 9
    for name, column in whole.state_dict().items():
        assert np.array_equal(column, second.state_dict()[name]), name


@pytest.mark.parametrize("change", [
    {"n": 8},
    {"seen": torch.zeros(8)},
    {"seen": torch.full((9,), 1.5)},
    {"learned": torch.ones(9)},
    {"p_sum": torch.ones(9, 2)},
    {"margin_sum": None},
    {"classes": "three"},
    {"classes": 1},
    {"attacked": 2},
])  # fmt: skip
def test_a_state_of_another_size_is_refused(change: dict[str, Any]) -> None:
    """A state of another number of examples, or with a column missing or of another kind, is refused and changes nothing."""
    history = cases.history(9)
    before = history.state_dict()
    with pytest.raises(ShapeError, match="not of a history of 9"):
        history.load_state_dict({**before, **change})
    assert all(np.array_equal(column, history.state_dict()[name]) for name, column in before.items())


def test_losses_where_there_are_no_logits() -> None:
    """The last loss of each example is kept as it was given; what reads logits is refused, with the reason."""
    history = History(4)
    history.record_losses([0, 2], torch.tensor([5.0, 7.0], requires_grad=True))
    history.record_losses(torch.tensor([2, 1, 2]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16))
    record = history.at(np.array([2, 0, 1]))
    assert record.loss.tolist() == [3, 5, 2]
    assert record.columns["loss_seen"].tolist() == [3, 1, 1]
    assert record.seen.tolist() == [0, 0, 0]
    assert record.attacked is None
    with pytest.raises(RequirementError, match=r"no losses of 1 examples \(positions 3\)"):
        _ = history.at(np.arange(4)).loss
    for what in ("aum", "el2n", "last_el2n", "confidence", "variability"):
        with pytest.raises(
            RequirementError, match=r"losses and no logits of 3 examples \(positions 2, 0, 1\)"
        ) as caught:
            getattr(record, what)
        assert str(caught.value).count("\n") == 0


def test_losses_and_logits_are_kept_apart() -> None:
    """After the first recorded loss, `loss` returns only recorded losses; what logits gave stays as it was."""
    history = History(3)
    history.record([0, 1, 2], torch.zeros(3, C), [0, 1, 2])
    assert history.at(np.arange(3)).loss == pytest.approx(np.full(3, np.log(C)))
    before = history.at(np.arange(3))
    history.record_losses([0, 1], torch.tensor([4.0, 0.0]))
    after = history.at(np.arange(3))
    assert history.at(np.array([1, 0])).loss.tolist() == [0, 4]
    with pytest.raises(RequirementError, match=r"no losses of 1 examples \(positions 2\)"):
        _ = history.at(np.array([2])).loss
    assert after.last_el2n.tolist() == before.last_el2n.tolist()
    assert after.columns["last_loss"].tolist() == before.columns["last_loss"].tolist()


@pytest.mark.parametrize(
    ("indices", "losses", "error"),
    [
        ([0, 1], torch.zeros(1), ShapeError),
        ([0], torch.zeros(1, 1), ShapeError),
        ([0], torch.tensor(0.0), ShapeError),
        ([4], torch.zeros(1), ShapeError),
        ([-1], torch.zeros(1), ShapeError),
        ([0.5], torch.zeros(1), ShapeError),
        ([0, 1], torch.tensor([1.0, float("nan")]), NonFiniteError),
        ([0, 1], torch.tensor([1.0, float("inf")]), NonFiniteError),
    ],
)
def test_refused_losses_change_nothing(indices: Any, losses: Any, error: type[Exception]) -> None:
    """A mean over a batch, other lengths, positions outside the pool and NaN are refused in one sentence and change nothing."""
    history = History(4)
    history.record_losses([0, 1], torch.tensor([2.0, 3.0]))
    before = history.state_dict()
    with pytest.raises(error) as caught:
        history.record_losses(indices, losses)
    assert str(caught.value).count("\n") == 0
    assert all(np.array_equal(column, history.state_dict()[name]) for name, column in before.items())


def test_losses_are_part_of_the_state() -> None:
    """A history of losses is the same after saving and loading."""
    one, two = cases.history(5), History(5)
    one.record_losses(range(3), torch.arange(3.0))
    two.load_state_dict(one.state_dict())
    assert two.at(np.arange(3)).loss.tolist() == [0, 1, 2]
    assert all(np.array_equal(column, two.state_dict()[name]) for name, column in one.state_dict().items())


def test_a_state_of_an_earlier_version_is_continued() -> None:
    """A state without the later columns has no losses, and the mean replaces the last ‖p − e_y‖ until an example is seen again."""
    history = cases.history(4)
    old = {k: v for k, v in history.state_dict().items() if k not in ("last_el2n", "given_loss", "loss_seen")}
    again = History(4)
    again.load_state_dict(old)
    both, n = (history.at(np.arange(4)), again.at(np.arange(4))), np.arange(4)
    assert both[1].last_el2n.tolist() == both[0].el2n.tolist()
    assert both[1].loss.tolist() == both[0].loss.tolist()
    assert not both[1].losses_recorded
    z = torch.tensor([[3.0, 0, 1, 2]])
    for one in (history, again):
        one.record([1], z, [0], attacked=True)
    assert again.at(n[1:2]).last_el2n == history.at(n[1:2]).last_el2n == pytest.approx([el2n(z[0].tolist(), 0)])
    fresh = History(3)
    fresh.load_state_dict({k: v for k, v in History(3).state_dict().items() if k in old})
    assert fresh.state_dict()["last_el2n"].tolist() == [0, 0, 0]
    with pytest.raises(ShapeError, match="not of a history"):
        again.load_state_dict({**old, "loss_seen": torch.zeros(3)})


@pytest.mark.parametrize(
    ("indices", "logits", "labels", "attacked", "error"),
    [
        ([4], torch.zeros(1, C), [0], True, ShapeError),
        ([-1], torch.zeros(1, C), [0], True, ShapeError),
        ([0.5], torch.zeros(1, C), [0], True, ShapeError),
        ([0, 1], torch.zeros(1, C), [0], True, ShapeError),
        ([0], torch.zeros(C), [0], True, ShapeError),
        ([0], torch.zeros(1, C), [C], True, ShapeError),
        ([0], torch.zeros(1, C), [-100], True, ShapeError),
        ([0], torch.zeros(1, C + 1), [0], True, ShapeError),
        ([0, 1], torch.tensor([[0.0, 1, 2], [float("nan"), 0, 0]]), [0, 0], True, NonFiniteError),
        ([0], torch.zeros(1, C), [0], False, RequirementError),
    ],
)
def test_a_refused_batch_changes_nothing(
    indices: Any, logits: Any, labels: Any, attacked: bool, error: type[Exception]
) -> None:
    """Positions, labels, widths or values out of range, and natural logits after attacked ones, are refused and change nothing."""
    history = History(4, C)
    history.record([0, 1, 2, 3], torch.zeros(4, C), [0, 1, 2, 0], attacked=True)
    before = history.state_dict()
    with pytest.raises(error) as caught:
        history.record(indices, logits, labels, attacked=attacked)
    assert str(caught.value).count("\n") == 0
    assert all(np.array_equal(column, history.state_dict()[name]) for name, column in before.items())


def test_complex_numbers_are_refused() -> None:
    """Logits, losses, norms and features are real: an imaginary part is not left out in silence."""
    history = History(2, 2, features=True)
    one = torch.ones(1, dtype=torch.complex64)
    for record in (
        lambda: history.record([0], one.repeat(1, 2), [0]),
        lambda: history.record_losses([0], one),
        lambda: history.record_input_norms([0], one),
        lambda: history.record_features([0], one[None]),
    ):
        with pytest.raises(ShapeError, match="must be real numbers"):
            record()


def test_impossible_sizes_are_refused() -> None:
    """No examples, one class, a number that is not whole, and a norm that is too many or not finite are refused."""
    for n, classes in ((0, None), (3, 1), (2.5, None), (True, None), (3, 2.5)):
        with pytest.raises(ShapeError, match="must be a whole number"):
            History(n, classes)  # type: ignore[arg-type]  # the wrong types are the point
    with pytest.raises(ShapeError, match="do not fit 2 classes"):
        History(3).record([0], torch.zeros(1, 1), [0])
    with pytest.raises(ShapeError, match="as many norms"):
        History(3).record_input_norms([0], torch.zeros(2))
    with pytest.raises(NonFiniteError):
        History(3).record_input_norms([0], torch.tensor([float("inf")]))


def test_a_snapshot_reads_its_own_examples() -> None:
    """A restricted task, of arrays or of a model, reads the rows of its positions in its order."""
    history = cases.history(24)
    keep = [20, 3, 7]
    for task in (cases.array_task(24, history=history), cases.sat_task(24, history=history)):
        assert "history" in task.provides
        with task.restrict(keep).snapshot(0, 0) as shot:
            assert shot.restrict([2, 0]).history().aum.tolist() == history.at(np.array([7, 20])).aum.tolist()


def test_a_task_without_classes_provides_losses_and_no_history_of_logits() -> None:
    """What reads logits is refused for a contrastive loss, unless logits were recorded all the same."""
    empty = History(24)
    assert {"losses", "history"} <= cases.sat_task(24, history=empty).provides
    task = cases.acl_task(24, history=empty)
    assert "losses" in task.provides
    with pytest.raises(
        RequirementError, match="'aum' needs history, and this task has none: give a history in which training"
    ):
        select(task, AUM(), 3)
    assert "history" in cases.acl_task(24, history=cases.history(24)).provides
    assert not {"losses", "history"} & cases.acl_task(24).provides
    assert {"losses", "history"} <= cases.array_task(24, history=empty).provides
    empty.record_losses(range(24), torch.ones(24))
    assert "history" not in cases.array_task(24, history=empty).provides


def test_a_task_reads_the_history_as_it_stands() -> None:
    """What is recorded after the task was made counts; what is recorded after a selection does not change the selection."""
    history = History(6)
    task = Task.from_arrays(labels=[0] * 6, history=history)
    good, bad = torch.tensor([[1.0, 0.0]]).repeat(6, 1), torch.tensor([[0.0, 1.0]])
    history.record(range(6), good, [0] * 6)
    assert select(task, Forgetting(), 2).indices.tolist() == [0, 1]
    history.record([4], bad, [0])
    chosen = select(task, Forgetting(), 2)
    history.record([5], bad, [0])
    assert chosen.indices.tolist() == [4, 0]
    assert chosen.scores is not None
    assert chosen.scores.tolist() == [0, 0, 0, 0, 1, 0]


def test_refusals_of_tasks() -> None:
    """A history of another length is refused, and so is a snapshot without one."""
    for make in (lambda h: cases.array_task(24, history=h), lambda h: cases.sat_task(24, history=h)):
        with pytest.raises(ShapeError, match="about 23 examples and the pool has 24"):
            make(History(23))
    with (
        cases.array_task(24).snapshot(0, 0) as shot,
        pytest.raises(RequirementError, match="record one while training"),
    ):
        shot.history()


def test_means_of_the_unseen_are_refused_by_name() -> None:
    """An example that was never seen has no mean; the message names its position."""
    history = History(4)
    history.record([1], torch.zeros(1, C), [0])
    for what in ("aum", "el2n", "loss", "confidence", "variability"):
        with pytest.raises(RequirementError, match=r"3 examples \(positions 0, 2, 3\)"):
            getattr(history.at(np.arange(4)), what)
    with pytest.raises(RequirementError, match="no input gradients of 4"):
        _ = history.at(np.arange(4)).input_norm


@pytest.mark.parametrize("attacked", [True, False])
def test_the_supervised_trainer_fills_it(attacked: bool) -> None:
    """In one epoch with a learning rate of 0, the recorded logits have the accuracy and the loss of the log."""
    sat = pytest.importorskip("coreselect_integrations.systems.sat")
    n = 12
    pool = TensorDataset(cases.images(n), cases.classes(n))
    model = cases.built(cases.ConvNet)
    history = History(n)
    log = sat.train_epoch(
        model,
        DataLoader(Indexed(pool), 5, generator=torch.Generator()),
        torch.optim.SGD(model.parameters(), 0.0),
        cases.WEAK if attacked else None,
        loss=sat.SAT() if attacked else CE(),
        generator=torch.Generator(),
        history=history,
    )
    record = history.at(np.arange(n))
    assert record.attacked is attacked
    assert record.seen.tolist() == [1] * n
    assert record.loss.mean() == pytest.approx(log.loss, rel=1e-6)
    assert record.columns["learned"].mean() == pytest.approx(log.accuracy)


def test_two_lines_in_any_loop() -> None:
    """The two lines of the module's docstring record a plain loop of two epochs."""
    pool = TensorDataset(cases.images(10), cases.classes(10))
    model = cases.built(cases.ConvNet)
    history = History(len(pool))
    for _ in range(2):
        for x, y, i in DataLoader(Indexed(pool), 4, shuffle=True, generator=torch.Generator()):
            logits = model(x)
            history.record(i, logits, y)
    x, y = pool.tensors
    want = F.cross_entropy(model(x), y, reduction="none").detach().numpy()
    np.testing.assert_allclose(history.at(np.arange(10)).loss, want, rtol=1e-10)
