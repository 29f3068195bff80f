"""A look at the user's views when a run begins: they are made for a few images, and the network is run on them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.data.reading import read
from coreselect.errors import CoreselectError, NonFiniteError, ShapeError
from coreselect.network.frozen import frozen
from coreselect.protocols import MakeViews
from coreselect.support.interruptions import interruptible
from coreselect.support.seeding import rng_kept
from coreselect.support.structure import described
from coreselect.task.dry_probe import probe_loss
from coreselect.task.recipe import ModelRecipe
from coreselect_integrations.networks import route_call
from coreselect_integrations.pretraining.settings import Settings

PROBED = 4  # images


def probe_parts(recipe: ModelRecipe, settings: Settings) -> None:
    """Refuse a loss or views of the user's that training could not use.

    Views are made for single images, as a selection makes them, and for a few images together, as the loop of an epoch does.

    Raises:
        ShapeError: the loss does not give one value for each example (`coreselect.task.dry_probe.probe_loss`); or the views fail,
            are no tensors of one shape with a row for each image, or the network fails on them.
        NonFiniteError: a view is not finite.
    """
    probe_loss(recipe)
    views, name = settings.views(0), settings.own_views
    if views is None or name is None:
        return
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        stack.enter_context(rng_kept())
        first = np.arange(min(PROBED, recipe.n), dtype=np.int64)
        x = next(iter(read(recipe.pool, [first], seed=0, path=("pool", 0), unpack=recipe.unpack, raw=True)))[1]
        # a loop of the user's calls them as it likes
        batches = [x[:1]] if settings.own_epoch is not None else [x[:1], x]
        model = stack.enter_context(frozen(recipe.model))
        for batch in batches:
            made = _made(views, name, batch, recipe.loss.views)
            _refuse_failing(model, made[-1], name, batch)


def _made(views: MakeViews, name: str, x: Tensor, count: int) -> tuple[Tensor, ...]:
    """Make the views of images [b, …], and check their form."""
    try:
        made: Any = views(x.clone(), torch.Generator().manual_seed(0))
    except CoreselectError:
        raise
    except Exception as why:  # code of the user, which may raise anything
        said = " ".join(str(why).split())[:160]
        raise ShapeError(
            f"the views {name} fail on images {described(x, None)} ({type(why).__name__}: {said})."
        ) from why
    known = isinstance(made, tuple | list) and len(made) == count and all(_is_batch(v, len(x)) for v in made)
    if not known or made[-1].shape != made[-2].shape:
        got = [described(v, None) for v in made] if isinstance(made, tuple | list) else [type(made).__name__]
        raise ShapeError(
            f"the views {name} of images {described(x, None)} are {' and '.join(got)}: {count} floating-point tensors of one shape "
            "are needed, with a row for each image."
        )
    if not all(bool(torch.isfinite(v).all()) for v in made):
        raise NonFiniteError(f"the views {name} of images {described(x, None)} hold NaN or infinity: give finite ones.")
    return tuple(made)


def _is_batch(view: Any, n: int) -> bool:
    """Say whether a view is a floating-point tensor [n, …]."""
    return isinstance(view, Tensor) and view.is_floating_point() and view.shape[:1] == (n,)


def _refuse_failing(model: Any, view: Tensor, name: str, x: Tensor) -> None:
    """Refuse views on which the network fails."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    try:
        with torch.no_grad():
            route_call(model, view.to(like), "natural")
    except Exception as why:  # the network may be the user's
        said = " ".join(str(why).split())[:160]
        raise ShapeError(
            f"the network fails on the views {name}, {described(view, None)} for images {described(x, None)} "
            f"({type(why).__name__}: {said}): resize views to the size of the images."
        ) from why
