"""Networks with two normalisation routes: the names that their `forward` takes, recognised from the network or given.

The papers' programs call such networks as forward(x, bn_name), with "normal" for natural inputs and "pgd" for attacked ones.
"""

import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from coreselect.errors import CoreselectError, HeadError
from coreselect.network.network import run
from coreselect.network.normalized import Normalized
from coreselect.protocols import Route

PARAMETERS = ("route", "bn", "bn_name", "bn_route")
PAIRS = (  # (natural, adversarial), as networks name them
    ("natural", "adversarial"), ("normal", "pgd"), ("normal", "adversarial"), ("normal", "adv"), ("natural", "adv"),
    ("nat", "adv"), ("clean", "adv"), ("clean", "adversarial"), ("clean", "pgd"), ("natural", "pgd"), ("std", "adv"),
)  # fmt: skip


@dataclass(frozen=True)
class RoutedCall:
    """The call of a network whose `forward` takes the name of a route.

    Args:
        names: (natural, adversarial), as the network names its routes.
        parameter: of `forward`, that takes the name.
    """

    names: tuple[str, str]
    parameter: str

    def __call__(self, model: nn.Module, x: Any, route: Route) -> Tensor:
        """Return the output [B, C] on a route, "natural" or "adversarial"."""
        name = self.names[route == "adversarial"]
        try:
            return run(model, x, {self.parameter: name})
        except CoreselectError:
            raise
        except (KeyError, ValueError, AttributeError) as why:
            if name not in str(why):
                raise
            raise HeadError(
                f"the network has no route {name!r} ({type(why).__name__}: {str(why)[:120]}): name its routes, natural first, with "
                'routes=("normal", "pgd") or --routes normal,pgd.'
            ) from why


def routed_call(model: nn.Module, routes: Sequence[str] | None) -> RoutedCall | None:
    """Return the call of a network with two routes, or None if its `forward` takes no route.

    Args:
        model: without wrappers.
        routes: the names of the natural and the adversarial route; None: they are recognised.
    Raises:
        HeadError: names were given and `forward` takes none, or the names cannot be recognised.
    """
    parameter = _parameter(model)
    if routes is not None:
        names = check_routes(routes)
        if parameter is None:
            raise HeadError(
                f"routes {names[0]},{names[1]} were given, and forward of {type(model).__name__} takes no second argument for "
                "them: leave routes out, or give call=lambda model, x, route: …"
            )
        return RoutedCall(names, parameter.name)
    if parameter is None or parameter.name not in PARAMETERS:
        return None
    keys = {k for m in model.modules() if isinstance(m, nn.ModuleDict) for k in m}
    names = _pair(keys) or _keys_with(model, parameter.default) or _pair({*_words(model), str(parameter.default)})
    if names is not None:
        return RoutedCall(names, parameter.name)
    if parameter.default is not inspect.Parameter.empty:
        return None  # the network works without a route, and nothing shows that it has two
    two = _two_keys(model)
    if two:
        raise HeadError(
            f"the network has routes {', '.join(two)}, which do not say which one is for attacked inputs: name both, natural "
            f'first, with routes=("{two[0]}", "{two[1]}") or --routes {two[0]},{two[1]}.'
        )
    return RoutedCall(("natural", "adversarial"), parameter.name)


def check_routes(routes: Sequence[str]) -> tuple[str, str]:
    """Return two different names.

    Raises:
        HeadError: there are not two.
    """
    names = tuple(routes.split(",")) if isinstance(routes, str) else tuple(routes)
    if len(names) != 2 or names[0] == names[1] or not all(isinstance(n, str) and n for n in names):
        raise HeadError(
            f"routes are two different names, natural first, such as normal,pgd; got {', '.join(map(str, names))}."
        )
    return str(names[0]), str(names[1])


def _parameter(model: nn.Module) -> inspect.Parameter | None:
    """Return the parameter of `forward` after the input, of the model inside any `Normalized`."""
    while isinstance(model, Normalized):
        model = model.model
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return next((p for p in named[1:] if p.name in PARAMETERS), named[1] if len(named) > 1 else None)


def _pair(words: Collection[Any]) -> tuple[str, str] | None:
    """Return the first known pair whose names are both among the words."""
    return next((pair for pair in PAIRS if pair[0] in words and pair[1] in words), None)


def _words(model: nn.Module) -> Iterator[str]:
    """Yield the words that may name a route: names of submodules, and strings in the code of `forward`."""
    for m in model.modules():
        yield from (n for n, _ in m.named_children())
        code = None if type(m).__module__.startswith("torch.") else getattr(type(m).forward, "__code__", None)
        for constant in getattr(code, "co_consts", ()):
            yield from (c for c in (constant if isinstance(constant, tuple) else (constant,)) if isinstance(c, str))
        yield from (str(n) for n in getattr(m, "bn_names", None) or ())


def _two_keys(model: nn.Module) -> tuple[str, str] | None:
    """Return the keys of the first ModuleDict with two entries."""
    found = (tuple(m) for m in model.modules() if isinstance(m, nn.ModuleDict) and len(m) == 2)
    first = next(found, None)
    return None if first is None else (first[0], first[1])


def _keys_with(model: nn.Module, default: Any) -> tuple[str, str] | None:
    """Return the two keys of a ModuleDict, the default first, where the default route is one of them."""
    keys = _two_keys(model)
    if keys is None or default not in keys:
        return None
    return keys if keys[0] == default else (keys[1], keys[0])
