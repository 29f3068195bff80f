"""The training losses, whose gradients are the rows: what each reads, how its inputs are attacked, and its value."""

from collections.abc import Callable

from torch import Tensor

from coreselect.losses.contrastive import ACL, CL, Divided, nt_xent, nt_xent_each
from coreselect.losses.own import CallableLoss, own_loss
from coreselect.losses.supervised import CE, SAT, TRADES
from coreselect.protocols import Loss
from coreselect.support.factories import is_spec, resolve
from coreselect.support.lookup import make_named

LOSSES: dict[str, Callable[[], Loss]] = {"ce": CE, "sat": SAT, "trades": TRADES, "cl": CL, "acl": ACL}

__all__ = ["ACL", "CE", "CL", "LOSSES", "SAT", "TRADES", "CallableLoss", "Divided", "loss", "nt_xent", "nt_xent_each"]


def loss(which: str | Loss | Callable[..., Tensor]) -> Loss:
    """Return the loss with this name and its published settings, the given object, or a callable as `CallableLoss`.

    The text `file.py:name` or `package.module:name` names an object, a class of losses, or a function of your own.

    Raises:
        UnknownNameError: no loss has that name.
        DataError: the file of the loss cannot be loaded.
        ShapeError: the object is no loss, or gives one value for a batch.
    """
    if isinstance(which, str) and is_spec(which):
        found = resolve(which, "loss")
        which = found() if isinstance(found, type) else found
    if not isinstance(which, str):
        return own_loss(which)
    return make_named("loss", which, LOSSES, otherwise="an object or a function of your own")
