"""Training loops refuse an attack that does not fit the loss, and images that do not fit the network."""

from typing import Any

import pytest
import torch

from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect_integrations.networks import small_conv, small_conv_contrastive
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.air import IR

ONE_STEP = PGD(0.03, 0.03, 1)
FIXED_START = PGD(0.03, 0.03, 1, random_start=False)


@pytest.mark.parametrize(
    ("loop", "loss", "attack", "says"),
    [
        (sat, SAT(), None, "there is no attack"),
        (sat, TRADES(), None, "there is no attack"),
        (sat, CE(), ONE_STEP, "attack=None"),
        (sat, TRADES(), FIXED_START, "random_start=True"),
        (acl, ACL(), None, "there is no attack"),
        (acl, IR(), None, "there is no attack"),
        (acl, CL(), ONE_STEP, "attack=None"),
    ],
)
def test_an_attack_that_does_not_belong_to_the_loss_is_refused(loop: Any, loss: Any, attack: Any, says: str) -> None:
    """It is refused in one sentence before the first batch is read."""
    model = small_conv(2, 1, 8) if loop is sat else small_conv_contrastive(3, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(RequirementError, match=says):
        loop.train_epoch(model, iter([None]), optimizer, attack, generator=torch.Generator(), loss=loss)


def test_a_networks_images_have_its_channels() -> None:
    """One grey channel is refused, because the normalisation would broadcast it to three."""
    from coreselect.errors import ShapeError

    with pytest.raises(ShapeError, match="check the data"):
        small_conv(2, 3, 8)(torch.rand(2, 1, 8, 8))


def test_the_callers_autocast_is_left_alone() -> None:
    """With precision=None inside the caller's autocast, forward passes use bfloat16, and the loss float32."""
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
