"""The training systems of the papers by name: the loss of each, and which inputs, labels and views it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from coreselect.losses import ACL, CE, CL, SAT, TRADES
from coreselect.protocols import Loss
from coreselect_integrations.systems.air import IR
from coreselect_integrations.systems.byol import OnlineBYOL
from coreselect_integrations.systems.moco import MoCo

if TYPE_CHECKING:
    from coreselect_integrations.pretraining.settings import Settings


@dataclass(frozen=True, slots=True)
class System:
    """A training system.

    Args:
        loss: (settings, ω) → the training loss; for moco and byol that of a finished network (`encoders.losses`).
        supervised: whether labels are read.
        attacked: whether inputs are attacked.
        dynamic: whether the augmentation gets weaker during the run.
        regularised: whether the loss reads the un-augmented image as a third view.
        follower: whether a second encoder may follow the trained one.
    """

    loss: Callable[[Settings, float], Loss]
    supervised: bool = False
    attacked: bool = True
    dynamic: bool = False
    regularised: bool = False
    follower: bool = False


def _acl(s: Settings, w: float) -> Loss:
    return ACL(s.temperature, omega=w)


def _ir(s: Settings, w: float) -> Loss:
    return IR(s.temperature, omega=w, sir=s.sir, air=s.air, form=s.form)  # type: ignore[arg-type]  # IR checks the name


SECOND_ENCODER = ("moco", "byol")  # their losses read a second encoder, which follows the batches of one process
SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "standard": System(lambda s, w: CE(), supervised=True, attacked=False),
        "sat": System(lambda s, w: SAT(), supervised=True),
        "trades": System(lambda s, w: TRADES(s.beta), supervised=True),
        "fast-at": System(lambda s, w: SAT(), supervised=True),
        "cl": System(lambda s, w: CL(s.temperature), attacked=False),
        "moco": System(lambda s, w: MoCo(s.temperature), attacked=False, follower=True),
        "byol": System(lambda s, w: OnlineBYOL(), attacked=False, follower=True),
        "acl": System(_acl, follower=True),
        "dynacl": System(_acl, dynamic=True, follower=True),
        "acl-air": System(_ir, regularised=True),
        "dynacl-air": System(_ir, dynamic=True, regularised=True),
    }
)
