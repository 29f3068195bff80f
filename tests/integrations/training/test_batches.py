"""NonSingletonBatches gives every example once, and no batch of a single example."""

from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import SequentialSampler

from coreselect_integrations.training.batches import NonSingletonBatches


@given(n=st.integers(0, 40), size=st.integers(2, 9), drop=st.booleans())
def test_batches_hold_everything_once_and_none_is_alone(n: int, size: int, drop: bool) -> None:
    """Batches are in order and as many as announced; a batch has a single example only if there is no other example."""
    batches = NonSingletonBatches(SequentialSampler(range(n)), size, drop_last=drop)
    made = list(batches)
    flat = [i for batch in made for i in batch]

    assert [len(b) for b in made] == batches.sizes()
    assert len(batches) == len(made)
    assert flat == list(range(len(flat)))
    assert all(len(b) > 1 for b in made) or n == 1
    if not drop or n < size:
        assert len(flat) == n
    else:
        assert len(flat) == n - n % size
