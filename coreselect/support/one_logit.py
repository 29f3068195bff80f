"""The refusal of one logit where a softmax is compared: the softmax of one number is 1, so the value is zero everywhere."""

from coreselect.errors import ShapeError

REMEDY = "call=lambda m, x, route: torch.cat([0 * m(x), m(x)], 1)"


def refuse_one_logit(outputs: int, who: str) -> None:
    """Refuse a network with one output.

    Args:
        outputs: C, how many outputs the network has.
        who: what compares softmaxes, for the message.
    Raises:
        ShapeError: there is one.
    """
    if outputs == 1:
        raise ShapeError(
            f"{who} compares softmaxes, and the softmax of one logit is always 1: give the network two, {REMEDY}."
        )
