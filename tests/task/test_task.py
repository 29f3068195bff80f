"""Tasks from models: which datasets they accept, which errors they raise, and that nothing outlives a snapshot."""

from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import random_states
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from coreselect import CoreselectError, select
from coreselect.errors import DataError, RequirementError, ShapeError, UnknownNameError
from coreselect.selectors import Random

RNG = np.random.default_rng(0)


X = cases.images(12)


Y = cases.classes(12)


class Keyed(Dataset[Any]):
    """Items are dictionaries."""

    def __init__(self, names: tuple[str, ...], values: Any) -> None:
        self.names, self.values = names, values

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(zip(self.names, (v[index] for v in self.values), strict=True))


class TestFromModel:
    """Tasks with a model."""

    @pytest.mark.parametrize(
        "pool",
        [
            TensorDataset(X, Y),
            TensorDataset(X, Y[:, None]),
            [(x, int(y)) for x, y in zip(X, Y, strict=True)],
            [(x, y) for x, y in zip(X, Y, strict=True)],
            [(x.numpy(), np.int64(y)) for x, y in zip(X, Y, strict=True)],
            [(x, int(y), "a name") for x, y in zip(X, Y, strict=True)],
            [[x, int(y)] for x, y in zip(X, Y, strict=True)],
            Keyed(("image", "label"), (X, Y)),
            Keyed(("pixel_values", "labels", "id"), (X, Y, list(range(12)))),
        ],
        ids=["tensors", "[B,1]", "ints", "0-d", "numpy", "with names", "lists", "dict", "transformers"],
    )
    def test_takes_items_in_usual_forms(self, pool: Any) -> None:
        """Tuples, lists, dictionaries, tensors, arrays, and labels of shape [B] or [B, 1] all give the same selection."""
        want = select(cases.sat_task(pool=cases.Items(X, Y)), cases.rcs(), 5)
        got = select(cases.sat_task(pool=pool), cases.rcs(), 5)
        assert got.indices.tolist() == want.indices.tolist()

    def test_takes_any_form_with_unpack(self) -> None:
        """unpack= reads items of another form."""
        pool = Keyed(("picture", "kind"), (X, Y))
        validation = Keyed(("picture", "kind"), (cases.images(12, seed=4), Y))
        with pytest.raises(DataError, match="unpack="):
            cases.sat_task(pool=pool)
        task = cases.sat_task(pool=pool, validation=validation, unpack=lambda b: (b["picture"], b["kind"]))
        assert len(select(task, cases.rcs(), 5)) == 5

    def test_a_pool_without_labels(self) -> None:
        """A pool without labels provides none, and the supervised loss then raises an error of one sentence."""
        task = cases.sat_task(pool=cases.Items(X))
        assert "labels" not in task.provides
        with pytest.raises(RequirementError, match=r"no labels|needs labels"):
            select(task, cases.rcs(), 5)
        assert len(select(task, Random(), 5)) == 5

    @pytest.mark.parametrize("bad", [4, 99, -1, -100])
    def test_labels_that_the_model_has_no_output_for(self, bad: int) -> None:
        """A label outside 0…C−1 raises an error of one sentence that names the example, not torch's own error."""
        y = Y.clone()
        y[3] = bad
        with pytest.raises(CoreselectError, match="3"):
            select(cases.sat_task(pool=cases.Items(X, y)), cases.rcs(), 5)

    @pytest.mark.parametrize("soft", [torch.full((12,), 0.7), torch.rand(12, 4)])
    def test_labels_that_are_no_classes(self, soft: Tensor) -> None:
        """Floating-point labels raise an error or are ignored; they are never rounded to classes."""
        with pytest.raises(CoreselectError):
            select(cases.sat_task(pool=TensorDataset(X, soft)), cases.rcs(), 5)

    def test_empty_and_endless_datasets_are_refused(self) -> None:
        """A dataset without items or without a length raises an error that names it."""

        class Endless(IterableDataset[Any]):
            """A dataset without a length."""

            def __iter__(self) -> Any:
                return iter([])

        with pytest.raises(DataError, match="pool is empty"):
            cases.sat_task(pool=cases.Items(X[:0], Y[:0]))
        with pytest.raises(DataError, match="validation is empty"):
            cases.sat_task(validation=cases.Items(X[:0], Y[:0]))
        with pytest.raises(DataError, match="map-style"):
            cases.sat_task(pool=Endless())

    def test_integer_images_are_refused(self) -> None:
        """uint8 images have no gradient: the error says what is needed."""
        with pytest.raises(ShapeError, match="floating-point"):
            select(cases.sat_task(pool=cases.Items((255 * X).to(torch.uint8), Y)), cases.rcs(), 5)

    def test_images_of_another_precision_are_cast(self) -> None:
        """float32 images are converted to float64 for a float64 model."""
        assert len(select(cases.sat_task(pool=cases.Items(X.float(), Y)), cases.rcs(), 5)) == 5

    def test_unknown_losses_and_sizes_are_refused(self) -> None:
        """An unknown loss and a batch size of zero raise an error at once."""
        with pytest.raises(UnknownNameError, match="acl"):
            cases.sat_task(loss="mart")
        with pytest.raises(ShapeError, match="batch_size"):
            cases.sat_task(batch_size=0)

    def test_contrastive_losses_need_views(self) -> None:
        """ACL without views=, or with only one view, raises an error of one sentence."""
        with pytest.raises(RequirementError, match="views="):
            select(cases.acl_task(12, views=None), cases.rcs(), 5)
        with pytest.raises(ShapeError, match="2 tensors"):
            select(cases.acl_task(12, views=lambda x, g: (x,)), cases.rcs(), 5)

    def test_views_that_are_one_tensor_are_refused(self) -> None:
        """views= that returns a tensor instead of a tuple raises an error; the tensor is not split along its first axis."""
        with pytest.raises(CoreselectError, match="views="):
            select(cases.sat_task(12, views=lambda x, g: x), cases.rcs(), 5)

    def test_views_that_draw_from_global_generators_still_give_one_answer(self) -> None:
        """A view function that uses global randomness gives the same answer for any number of workers and any global state."""

        def views(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            return (x * torch.rand(())).clamp(0, 1), (x + 0.1 * float(np.random.rand())).clamp(0, 1)

        answers = []
        for seed, workers in ((1, 0), (2, 0), (3, 1)):
            state = torch.get_rng_state(), np.random.get_state()
            torch.manual_seed(seed)
            np.random.seed(seed)
            chosen = select(cases.acl_task(12, views=views, num_workers=workers), cases.rcs(), 5)
            torch.set_rng_state(state[0])
            np.random.set_state(state[1])
            answers.append((chosen.indices.tolist(), chosen.gains.tolist()))
        assert answers[0] == answers[1] == answers[2]

    def test_an_attack_is_needed_where_one_is_read(self) -> None:
        """A user's loss that reads attacked inputs and has no attack raises an error of one sentence."""

        class Own:
            """Cross-entropy without a published attack."""

            name, views, streams = "own", 1, (("adversarial", 0),)
            per_example, needs_labels, default_attack = True, True, None

            def ascend(self, adversarial: Any, natural: Any, labels: Any) -> Tensor:
                return self(adversarial, natural, labels).sum()

            def __call__(self, adversarial: Any, natural: Any, labels: Any) -> Tensor:
                return torch.nn.functional.cross_entropy(adversarial[0], labels, reduction="none")

        with pytest.raises(RequirementError, match="attack="):
            select(cases.sat_task(12, loss=Own(), attack=None), cases.rcs(), 5)
        same = select(cases.sat_task(12, loss=Own()), cases.rcs(), 5)
        assert same.indices.tolist() == select(cases.sat_task(12), cases.rcs(), 5).indices.tolist()

    def test_a_divergence_loss_cannot_be_attacked_from_its_centre(self) -> None:
        """TRADES with an attack without random start has zero gradient at x, and raises the same error as RD."""
        from coreselect.attacks import PGD

        still = PGD(0.1, 0.05, 2, random_start=False)
        with pytest.raises(RequirementError, match="random_start=True"):
            select(cases.sat_task(12, loss="trades", attack=still), cases.rcs(), 5)

    def test_nothing_is_computed_by_making_or_asking(self) -> None:
        """Making a task and reading what it provides runs no forward pass and moves no random state."""

        class Loud(torch.nn.Module):
            """A function that must not be called."""

            def forward(self, x: Tensor) -> Tensor:
                raise cases.Broken("called")

        before = random_states()
        task = cases.sat_task(12, model=Loud())
        assert task.n == 12
        assert task.provides >= {"labels", "validation", "validation_labels"}
        assert random_states() == before

    def test_nothing_is_reused_between_snapshots(self) -> None:
        """After the model has changed, the next selection uses the model as it is then."""
        task = cases.sat_task(24)
        first = select(task, cases.rcs(), 7)
        with torch.no_grad():
            for p in task.model.parameters():
                p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(1)))
        moved = select(task, cases.rcs(), 7)
        fresh = select(cases.sat_task(24, model=task.model), cases.rcs(), 7)
        assert moved.gains.tolist() == fresh.gains.tolist() != first.gains.tolist()

    def test_progress_is_reported(self) -> None:
        """reporting() is called for the sweep, from 0, and for greedy, each up to its total."""
        seen: dict[str, list[tuple[int, int]]] = {}
        task = cases.sat_task(24, batch_size=7).reporting(
            lambda part, done, total: seen.setdefault(part, []).append((done, total))
        )
        select(task, cases.rcs(), 7)
        assert (seen["sweep"][0], seen["sweep"][-1]) == ((0, 24), (24, 24))
        assert seen["greedy"][-1] == (7, 7)

    def test_seconds_are_told_by_part(self) -> None:
        """Provenance has seconds for each part, and none is negative."""
        seconds = select(cases.sat_task(12), cases.rcs(), 5).provenance.seconds
        assert {"attack", "greedy", "features"} <= set(seconds)
        assert min(seconds.values()) >= 0

    def test_a_bad_example_outside_a_restriction_does_not_matter(self) -> None:
        """NaN in an example outside a restricted task raises no error."""
        x = X.clone()
        x[1] = float("nan")
        task = cases.sat_task(pool=cases.Items(x, Y)).restrict([0, 2, 5, 7, 8, 11])
        assert len(select(task, cases.rcs(), 3)) == 3

    @pytest.mark.parametrize("seed", [0, 2**40, 2**63 - 1])
    def test_any_seed_will_do(self, seed: int) -> None:
        """Seeds may be large, and are recorded so that the selection can be made again."""
        task = cases.sat_task(12)
        chosen = select(task, cases.rcs(), 5, seed)
        p = chosen.provenance
        assert select(task, cases.rcs(), 5, p.seed).indices.tolist() == chosen.indices.tolist()
