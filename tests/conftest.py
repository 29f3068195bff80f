"""Settings of every test: one torch thread in each process, and hypothesis without deadlines."""

import torch
import typer.rich_utils  # noqa: F401  # it reads TERMINAL_WIDTH when it is imported: before any test sets it
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # the problems are tiny, so threads cost more than they save; test processes run in parallel
settings.register_profile(
    "coreselect",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("coreselect")
