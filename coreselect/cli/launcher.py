"""Whether a launcher such as `torchrun` has started several processes for this command; needs nothing but the environment."""

import os

from coreselect.errors import RequirementError

TOGETHER = ("select", "train", "compare")  # the commands whose processes work together


def launched() -> int:
    """Return how many processes a launcher has started for this command; 1 without a launcher."""
    found = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ and "MASTER_ADDR" in os.environ else "1"
    return int(found) if found.isdigit() else 1


def launched_rank() -> int:
    """Return the number of this process among them; 0 without a launcher."""
    return int(os.environ["RANK"]) if launched() > 1 else 0


def refuse_several(command: str) -> None:
    """Refuse a command that several processes would run over each other.

    Raises:
        RequirementError: a launcher has started more than one process; all but the first say nothing and end with exit code 1.
    """
    if command in TOGETHER or launched() == 1:
        return
    if launched_rank():
        raise SystemExit(1)
    raise RequirementError(
        f"{command} works in one process, and {launched()} were started: start it without torchrun "
        f"({', '.join(TOGETHER[:-1])} and {TOGETHER[-1]} share their work)."
    )
