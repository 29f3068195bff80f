"""The training losses, whose gradients are the rows: what each reads, how its inputs are attacked, and its value."""

from collections.abc import Callable

from coreselect.losses.contrastive import ACL, CL, Divided, nt_xent, nt_xent_each
from coreselect.losses.supervised import CE, SAT, TRADES
from coreselect.protocols import Loss
from coreselect.support.lookup import make_named

LOSSES: dict[str, Callable[[], Loss]] = {"ce": CE, "sat": SAT, "trades": TRADES, "cl": CL, "acl": ACL}

__all__ = ["ACL", "CE", "CL", "LOSSES", "SAT", "TRADES", "Divided", "loss", "nt_xent", "nt_xent_each"]


def loss(which: str | Loss) -> Loss:
    """Return the loss with this name and its published settings, or the given object.

    Raises:
        UnknownNameError: no loss has that name.
    """
    if not isinstance(which, str):
        return which
    return make_named("loss", which, LOSSES, otherwise="an object of your own")
