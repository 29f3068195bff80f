"""The choice of a precision by time."""

import cases
import pytest

from coreselect.planning import faster
from coreselect.planning.faster import TRIES, faster_precision


@pytest.mark.parametrize(("half", "name"), [(0.5, "bf16"), (0.89, "bf16"), (0.95, "fp32"), (3.0, "fp32")])
def test_half_precision_is_taken_where_it_saves_a_tenth(
    half: float, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The medians of the passes after the first are compared; both precisions are timed in turns."""
    seconds = iter([100.0, 0.01, *(v for _ in range(TRIES) for v in (1.0, half))])

    def spent(shot: object, work: object) -> dict[str, float]:
        work()  # type: ignore[operator]
        return {"other": next(seconds)}

    monkeypatch.setattr(faster, "seconds_spent", spent)
    assert faster_precision(cases.sat_task()) == (name, half)
    assert next(seconds, None) is None
