"""A head whose output is the model's own, while `call` makes the output of it: call(model, x, route) = g(model(x)).

    g(model(x)) = call(head, features(x), route)

So two logits can be made of one, `call=lambda m, x, route: torch.cat([0 * m(x), m(x)], 1)`, and the head is still found. This
holds if `call` uses nothing of the model but model(x); the check of every split (`refuse_wrong_split`) decides.
"""

from typing import Any, cast

from torch import Tensor, nn

from coreselect.network.network import HeadArguments, HeadSplit
from coreselect.network.trace import Trace
from coreselect.protocols import Params, Route


class CalledHead(HeadSplit):
    """A head under the call of its model; see `HeadSplit`."""

    def apply(self, params: Params, prepared: Tensor, route: Route) -> Tensor:
        def head(x: Tensor, *_more: Any, **_named: Any) -> Tensor:  # the route is among the head's own arguments
            return super(CalledHead, self).apply(params, x, route)

        return self.call(cast(nn.Module, head), prepared, route)


def find_called_head(
    model: nn.Module, traces: dict[Route, Trace], name: str | None
) -> tuple[str, dict[Route, HeadArguments]] | None:
    """Return the head that makes the model's own output, and its arguments on each route; None if there is none.

    Args:
        name: of the head, or None for the smallest that holds a Linear.
    """
    first = {route: trace.first_call("") for route, trace in traces.items()}
    own = first["adversarial"]
    if own is None:
        return None
    if name is None:
        fits = [
            (sum(p.numel() for p in m.parameters()), -n.count("."), n)
            for n, m in model.named_modules()
            if (call := traces["adversarial"].first_call(n)) is not None
            and call[2] is own[2]
            and any(isinstance(s, nn.Linear) for s in m.modules())
            and (n or isinstance(m, nn.Linear))
        ]
        if not fits:
            return None
        name = min(fits)[2]
    arguments: dict[Route, HeadArguments] = {}
    for route, trace in traces.items():
        call = trace.first_call(name)
        if call is None or not call[0] or not isinstance(call[0][0], Tensor):
            return None
        if any(isinstance(a, Tensor) for a in (*call[0][1:], *call[1].values())):
            return None
        arguments[route] = HeadArguments(call[0][1:], call[1])
    return name, arguments
