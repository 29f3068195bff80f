"""Training losses whose gradient is a row: what they read, how their inputs are attacked, what they are worth."""

from coreselect.errors import UnknownNameError
from coreselect.losses.contrastive import ACL, CL, Divided, nt_xent, nt_xent_each
from coreselect.losses.supervised import CE, SAT, TRADES
from coreselect.protocols import Loss

LOSSES = {"ce": CE, "sat": SAT, "trades": TRADES, "cl": CL, "acl": ACL}

__all__ = ["ACL", "CE", "CL", "LOSSES", "SAT", "TRADES", "Divided", "loss", "nt_xent", "nt_xent_each"]


def loss(which: str | Loss) -> Loss:
    """Return the loss of that name with its published settings, or the object given.

    Raises:
        UnknownNameError: no loss has that name.
    """
    if not isinstance(which, str):
        return which
    if which not in LOSSES:
        raise UnknownNameError(
            f"no loss is called {which!r}; there are {', '.join(LOSSES)}, or give an object of your own."
        )
    return LOSSES[which]()
