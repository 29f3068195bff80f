"""What every test runs under: one torch thread a process, and hypothesis without deadlines."""

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # tiny problems: threads cost more than they bring, and test processes run side by side
settings.register_profile(
    "coreselect",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("coreselect")
