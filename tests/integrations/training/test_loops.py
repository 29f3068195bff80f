"""What the loops share: batches that no normalisation chokes on, and attacks that belong to their loss."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import SequentialSampler

from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect_integrations.networks import small_conv, small_conv_contrastive
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.air import IR
from coreselect_integrations.training.loops import NonSingletonBatches


@given(n=st.integers(0, 40), size=st.integers(2, 9), drop=st.booleans())
def test_batches_hold_everything_once_and_none_is_alone(n: int, size: int, drop: bool) -> None:
    """In order, as many as announced; a single example is a batch only where it is all there is."""
    batches = NonSingletonBatches(SequentialSampler(range(n)), size, drop_last=drop)
    made = list(batches)
    flat = [i for batch in made for i in batch]

    assert [len(b) for b in made] == batches.sizes()
    assert len(batches) == len(made)
    assert flat == list(range(len(flat)))
    assert all(len(b) > 1 for b in made) or n == 1
    if not drop or n < size:
        assert len(flat) == n
    else:
        assert len(flat) == n - n % size


PGD1 = PGD(0.03, 0.03, 1)
STILL = PGD(0.03, 0.03, 1, random_start=False)


@pytest.mark.parametrize(
    ("loop", "loss", "attack", "says"),
    [
        (sat, SAT(), None, "given no attack"),
        (sat, TRADES(), None, "given no attack"),
        (sat, CE(), PGD1, "attack=None"),
        (sat, TRADES(), STILL, "random_start=True"),
        (acl, ACL(), None, "given no attack"),
        (acl, IR(), None, "given no attack"),
        (acl, CL(), PGD1, "attack=None"),
    ],
)
def test_an_attack_that_does_not_belong_to_the_loss_is_refused(loop: Any, loss: Any, attack: Any, says: str) -> None:
    """One sentence before the first batch is read."""
    model = small_conv(2, 1, 8) if loop is sat else small_conv_contrastive(3, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(RequirementError, match=says):
        loop.train_epoch(model, iter([None]), optimizer, attack, generator=torch.Generator(), loss=loss)


def test_a_networks_images_have_its_channels() -> None:
    """One grey channel would be broadcast to three by the normalisation: it is refused."""
    from coreselect.errors import ShapeError

    with pytest.raises(ShapeError, match="right data"):
        small_conv(2, 3, 8)(torch.rand(2, 1, 8, 8))


def test_the_callers_autocast_is_left_alone() -> None:
    """precision=None inside an autocast of the caller's: forward passes are in bfloat16, the loss in float32."""
    seen: list[torch.dtype] = []

    def watched(model: Any, x: Any, route: str) -> Any:
        out = model(x)
        seen.append(out.dtype)
        return out

    model = small_conv(2, 3, 8)
    batch = (torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]))
    with torch.autocast("cpu", torch.bfloat16):
        sat.train_epoch(
            model, [batch], torch.optim.SGD(model.parameters(), 0.1), None, generator=torch.Generator(), loss=CE(), call=watched
        )  # fmt: skip
    assert seen == [torch.bfloat16]
