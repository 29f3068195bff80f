"""Systems that train on one process only."""

from dataclasses import replace

import pytest

from coreselect.errors import RequirementError
from coreselect_integrations.pretraining.encoders import refuse_ranks
from coreselect_integrations.pretraining.presets import defaults


@pytest.mark.parametrize("system", ["moco", "byol"])
def test_a_queue_or_a_target_is_not_shared(system: str) -> None:
    """Two ranks are refused in one sentence, one is not; the pair of DynACL's encoders is shared."""
    with pytest.raises(RequirementError, match=f"{system} trains on one process"):
        refuse_ranks(defaults(system), 2)
    refuse_ranks(defaults(system), 1)
    refuse_ranks(replace(defaults("dynacl"), key_momentum=0.99), 2)
