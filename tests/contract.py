"""What every selector promises: a test class inherits `SelectorContract` and says how its selector is made."""

import random
from collections.abc import Callable
from typing import Any

import cases
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coreselect import Selection, Selector, holdout, select
from coreselect.errors import BudgetError, DataError, NonFiniteError, RequirementError
from coreselect.network.frozen import unwrap

N = 24


def random_states() -> tuple[Any, ...]:
    """Return every global random state, in comparable form."""
    state: Any = np.random.get_state()  # the legacy tuple form
    name, keys, *rest = state
    return random.getstate(), (name, keys.tobytes(), *rest), torch.get_rng_state().numpy().tobytes()


def photograph(model: nn.Module) -> dict[str, Any]:
    """Return everything that a selection could change."""

    def bits(t: Tensor | None) -> Any:
        return (
            None
            if t is None
            else (t.dtype, tuple(t.shape), t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        )

    bare = unwrap(model)
    return {
        "parameters": {n: (id(p), bits(p), p.requires_grad, p.is_leaf) for n, p in bare.named_parameters()},
        "buffers": {n: (id(b), bits(b)) for n, b in bare.named_buffers()},
        "grads": {n: (id(p.grad), bits(p.grad)) for n, p in bare.named_parameters()},
        "modes": {n: m.training for n, m in model.named_modules()},
        "hooks": {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.named_modules()},
        "attributes": {n: sorted(vars(m)) for n, m in model.named_modules()},
    }


def same(a: Selection, b: Selection) -> None:
    """Assert that two selections are the same answer, bit for bit."""
    assert a.indices.tolist() == b.indices.tolist()
    for what in ("source_indices", "groups", "gains", "weights", "scores"):
        left, right = getattr(a, what), getattr(b, what)
        assert (left is None) == (right is None), what
        assert left is None or np.array_equal(left, right), what
    assert a.certificate == b.certificate
    assert a.diagnostics == b.diagnostics


def well_formed(selection: Selection, k: int, n: int) -> None:
    """Assert what is true of every selection of k from n."""
    assert selection.indices.dtype == np.int64
    assert len(selection) == k
    assert len(set(selection.indices.tolist())) == k
    assert selection.indices.min() >= 0
    assert selection.indices.max() < n
    assert selection.groups.shape == selection.gains.shape == selection.source_indices.shape == (k,)
    assert np.isfinite(selection.gains).all()
    if selection.weights is not None:
        assert selection.weights.shape == (k,)
        assert (selection.weights >= 0).all()
        assert selection.weights.sum() > 0
        assert np.isfinite(selection.weights).all()
    if selection.scores is not None:
        assert selection.scores.shape == (n,)
    assert selection.provenance.budget == k
    assert selection.provenance.pool_size == n


class SelectorContract:
    """Tests inherited by every selector.

    `make()` gives the selector; `reads_pool` says whether it reads images at all, and `order_free` whether the chosen set does
    not depend on how the pool is numbered.
    """

    make: Callable[[], Selector]
    reads_pool = True
    order_free = False
    tasks: tuple[str, ...] = ("sat", "arrays")

    @pytest.fixture
    def selector(self) -> Selector:
        """The selector under test."""
        own: Any = type(self)
        return own.make()

    def some_tasks(self, **settings: Any) -> list[Any]:
        """A task of each kind that the selector works on."""
        made = {
            "sat": lambda: cases.sat_task(N, **settings),
            "acl": lambda: cases.acl_task(N, **settings),
            "arrays": lambda: cases.array_task(N),
        }
        return [made[t]() for t in self.tasks]

    def test_is_a_selector(self, selector: Selector) -> None:
        """It has the protocol's members, and a known value of `renew`."""
        assert isinstance(selector, Selector)
        assert selector.renew in ("never", "round", "epoch")
        assert selector.requires <= {
            "labels",
            "features",
            "logits",
            "gradients",
            "example_gradients",
            "inputs",
            "validation",
            "validation_labels",
            "history",
            "losses",
        }

    @pytest.mark.parametrize("k", [1, 2, 5, 7, N - 1, N])
    def test_meets_the_budget_exactly(self, selector: Selector, k: int) -> None:
        """Exactly k unique positions inside the pool, from one to all."""
        for task in self.some_tasks():
            well_formed(select(task, selector, k, 3), k, N)

    def test_refuses_budgets_outside_the_pool(self, selector: Selector) -> None:
        """Budgets of 0 and N + 1 raise an error that names them."""
        for k in (0, N + 1, -1):
            with pytest.raises(BudgetError):
                select(cases.sat_task(N), selector, k)

    def test_same_seed_and_round_same_answer(self, selector: Selector) -> None:
        """Two selections with the same seed and round are bit-identical, gains and certificate included."""
        for task in self.some_tasks():
            same(select(task, selector, 7, 5, round=2), select(task, selector, 7, 5, round=2))

    def test_seed_and_round_are_recorded(self, selector: Selector) -> None:
        """Provenance holds the name, the seed, the round, the budget and the pool's size and fingerprint."""
        p = select(cases.sat_task(N), selector, 6, 11, round=3).provenance
        assert (p.selector, p.seed, p.round, p.budget, p.pool_size) == (selector.name, 11, 3, 6, N)
        assert p.fingerprint.startswith(f"n:{N}-")

    def test_moves_no_global_random_state(self, selector: Selector) -> None:
        """Python's, numpy's and torch's global generators are bit-identical afterwards."""
        pool = cases.Augmenting(cases.images(N), cases.classes(N))
        for task in [*self.some_tasks(), cases.sat_task(N, pool=pool)]:
            before = random_states()
            select(task, selector, 6)
            assert random_states() == before

    def test_does_not_read_global_random_states(self, selector: Selector) -> None:
        """The answer does not depend on the state of the global generators, also with an augmenting pool."""
        pool = cases.Augmenting(cases.images(N), cases.classes(N))
        answers = []
        before = random_states()
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            answers.append(select(cases.sat_task(N, pool=pool), selector, 6))
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])
        assert random_states() == before
        same(*answers)

    def test_leaves_no_trace_in_the_model(self, selector: Selector) -> None:
        """Parameters, buffers, requires_grad, train flags, .grad and hooks are bit-identical afterwards."""
        model = cases.built(cases.ConvNet).train()
        model.fc.eval()  # type: ignore[union-attr]  # a mixed state is a state too
        model.conv.weight.requires_grad_(False)  # type: ignore[union-attr]
        model.fc.weight.grad = torch.ones_like(model.fc.weight)  # type: ignore[union-attr]
        before = photograph(model)
        select(cases.sat_task(N, model=model), selector, 6)
        assert photograph(model) == before

    @pytest.mark.parametrize("at", [0, 5, N - 1])
    def test_leaves_no_trace_when_the_dataset_fails(self, selector: Selector, at: int) -> None:
        """If a dataset raises half-way, its exception is the cause, and the model and every random state are unchanged."""
        if not self.reads_pool:
            pytest.skip("this selector does not read images")
        pool = cases.Failing(cases.images(N), cases.classes(N), at=at)
        model = cases.built(cases.ConvNet).train()
        task = cases.sat_task(N, model=model, pool=pool, batch_size=4)
        select(task, selector, 6)  # labels and fingerprint are read
        pool.armed = True
        before, states = photograph(model), random_states()
        with pytest.raises(DataError, match=f"pool item {at} cannot be read") as failed:
            select(task, selector, 6)
        assert isinstance(failed.value.__cause__, cases.Broken)
        assert photograph(model) == before
        assert random_states() == states

    def test_leaves_no_trace_when_the_views_fail(self, selector: Selector) -> None:
        """If a view function raises half-way, the model and every random state are unchanged."""
        if not self.reads_pool:
            pytest.skip("this selector does not read images")
        calls = []

        def views(x: Tensor, generator: torch.Generator) -> tuple[Tensor]:
            calls.append(1)
            torch.rand(2)
            if len(calls) > 9:
                raise cases.Broken("views")
            return (x,)

        model = cases.built(cases.ConvNet).train()
        before, states = photograph(model), random_states()
        with pytest.raises(cases.Broken):
            select(cases.sat_task(N, model=model, views=views, batch_size=4), selector, 6)
        assert photograph(model) == before
        assert random_states() == states

    def test_never_chooses_validation(self, selector: Selector) -> None:
        """With a holdout, source positions are never validation positions."""
        data = cases.Items(cases.images(N + 9), cases.classes(N + 9))
        pool, validation = holdout(data, 9, seed=4)
        chosen = select(cases.sat_task(pool=pool, validation=validation), selector, 10)
        assert not set(chosen.source_indices.tolist()) & set(validation.indices)
        assert chosen.source_indices.tolist() == [pool.indices[i] for i in chosen.indices]

    def test_works_with_a_head_of_two_widths(self, selector: Selector) -> None:
        """A head whose Linears differ in width, as in VGG, gives exactly k."""
        task = cases.sat_task(N, model=cases.built(cases.DeepHead), head="head")
        well_formed(select(task, selector, 7), 7, N)

    def test_copes_with_duplicates(self, selector: Selector) -> None:
        """A pool in which every image occurs four times still gives k unique positions, the same each time."""
        x, y = cases.images(N // 4).repeat(4, 1, 1, 1), cases.classes(N // 4).repeat(4)
        task = cases.sat_task(pool=cases.Items(x, y))
        first = select(task, selector, 9)
        well_formed(first, 9, N)
        same(first, select(task, selector, 9))

    def test_copes_with_constant_rows(self, selector: Selector) -> None:
        """A pool with N copies of one image and one label gives k unique positions."""
        x, y = cases.images(1).expand(N, 1, 6, 6).clone(), torch.zeros(N, dtype=torch.int64)
        well_formed(select(cases.sat_task(pool=cases.Items(x, y)), selector, 9), 9, N)

    def test_copes_with_zero_gradients(self, selector: Selector) -> None:
        """Rows and a validation gradient that are all zero give k unique positions."""
        task = cases.array_task(N, gradients=np.zeros((N, 4)), validation_gradient=np.zeros(4))
        well_formed(select(task, selector, 9), 9, N)

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_copes_with_tiny_pools(self, selector: Selector, n: int) -> None:
        """With a budget of all, a pool of one, two or three examples gives all of them."""
        task = cases.sat_task(n, u=1)
        assert sorted(select(task, selector, n).indices.tolist()) == list(range(n))

    @pytest.mark.parametrize("bad", [0, 3, 17, N - 1])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_names_the_example_that_is_not_finite(self, selector: Selector, bad: int, value: float) -> None:
        """NaN or infinity in one pool input raises an error that names exactly its position."""
        if not self.reads_pool:
            pytest.skip("this selector does not read images")
        x = cases.images(N)
        x[bad, 0, 2, 3] = value
        with pytest.raises(NonFiniteError) as caught:
            select(cases.sat_task(pool=cases.Items(x, cases.classes(N)), batch_size=7), selector, 6)
        assert caught.value.indices == (bad,)
        assert str(bad) in str(caught.value)

    @pytest.mark.parametrize("batch_size", [1, 5, 1000])
    def test_batch_size_does_not_matter(self, selector: Selector, batch_size: int) -> None:
        """In float64 the picks are the same for every batch size of the forward passes."""
        want = select(cases.sat_task(N, batch_size=7), selector, 7)
        got = select(cases.sat_task(N, batch_size=batch_size), selector, 7)
        assert got.indices.tolist() == want.indices.tolist()
        assert np.allclose(got.gains, want.gains, rtol=1e-9, atol=1e-15)

    def test_number_of_workers_does_not_matter(self, selector: Selector) -> None:
        """With an augmenting pool the answer is bit-identical for 0 and 2 workers."""
        pool = cases.Augmenting(cases.images(N), cases.classes(N))
        same(*(select(cases.sat_task(N, pool=pool, num_workers=w), selector, 7) for w in (0, 2)))

    @pytest.mark.parametrize("how", ["no_grad", "inference_mode", "autocast", "train"])
    def test_the_callers_modes_do_not_matter(self, selector: Selector, how: str) -> None:
        """Under no_grad, inference_mode, autocast or with the model in train mode the answer is the same."""
        model = cases.built(cases.ConvNet, dtype=torch.float32)
        want = select(cases.sat_task(N, model=model, dtype=torch.float32), selector, 6)
        task = cases.sat_task(N, model=model.train(how == "train"), dtype=torch.float32)
        contexts: dict[str, Any] = {
            "no_grad": torch.no_grad(),
            "inference_mode": torch.inference_mode(),
            "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
            "train": torch.enable_grad(),
        }
        with contexts[how]:
            got = select(task, selector, 6)
        same(got, want)

    def test_a_restricted_task_chooses_inside_it(self, selector: Selector) -> None:
        """A restricted task numbers its examples from 0, and source positions are still those of the whole pool."""
        keep = [20, 3, 7, 11, 1, 22, 15, 8, 2]
        for task in self.some_tasks():
            chosen = select(task.restrict(keep), selector, 5)
            well_formed(chosen, 5, len(keep))
            assert chosen.source_indices.tolist() == [keep[i] for i in chosen.indices]

    def test_numbering_does_not_matter_where_that_is_claimed(self, selector: Selector) -> None:
        """The chosen set does not depend on how the pool is numbered (selectors that score single examples)."""
        if not self.order_free:
            pytest.skip("this selector draws over positions, so numbering is part of its seed")
        order = np.random.default_rng(1).permutation(N)
        task = cases.array_task(N)
        want = select(task, selector, 7)
        got = select(task.restrict(order), selector, 7)
        assert sorted(got.source_indices.tolist()) == sorted(want.source_indices.tolist())

    def test_says_what_it_needs(self, selector: Selector) -> None:
        """A task without a requirement raises an error of one sentence that names the selector and says what to do."""
        if not selector.requires:
            pytest.skip("this selector needs nothing")
        task = cases.array_task(N, gradients=None, validation_gradient=None, labels=None, features=np.zeros((N, 2)))
        with pytest.raises(RequirementError, match=r"needs .* none: give") as caught:
            select(task, selector, 5)
        assert str(caught.value).count("\n") == 0
        assert selector.name in str(caught.value)

    def test_records_travel_through_a_file(self, selector: Selector, tmp_path: Any) -> None:
        """A loaded selection equals the saved one, gains, weights, certificate and provenance included."""
        chosen = select(cases.sat_task(N), selector, 6, 9, round=1)
        chosen.save(tmp_path / "coreset.npz")
        back = Selection.load(tmp_path / "coreset.npz")
        same(back, chosen)
        assert back.provenance.settings == chosen.provenance.settings
        assert back.provenance.seed == 9
