"""When, where, with which versions and by which command a report was made, in words."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime

import torch

from coreselect.support.records import versions

PACKAGES = ("coreselect", "torch", "numpy", "python")


def made_by(device: str, command: str | None, *, now: datetime | None = None) -> Mapping[str, str]:
    """Return what the head of a report says, by name.

    Args:
        device: on which the work was done.
        command: the command line, or None for a call from Python.
        now: the time to report; None: this minute.
    """
    known = versions()
    gpu = f", {torch.cuda.get_device_name(torch.device(device))}" if device.startswith("cuda") else ""
    return {
        "date": (now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": ", ".join(f"{name} {known[name]}" for name in PACKAGES if name in known),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {device}{gpu}",
        "command": command or "a call from Python",
    }
