"""Batches of which a part comes from a trusted set."""

import cases
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from coreselect import CoresetSampler, TrustedBatches
from coreselect.errors import ScheduleError
from coreselect.selectors import RS2, RCSSampled

N, M = 30, 7


def made(share: float = 0.5, size: int = 8) -> tuple[CoresetSampler, TrustedBatches]:
    """A sampler that sees all 30 in epoch 0 and 10 later, and its batches."""
    sampler = CoresetSampler(cases.sat_task(N), RS2(), 10, warmup=1, every=2)
    return sampler, TrustedBatches(sampler, M, size, share)


@pytest.mark.parametrize(("share", "size", "trusted"), [(0.5, 8, 4), (0.25, 8, 2), (0.01, 8, 1), (0.8, 10, 8)])
def test_every_batch_has_its_share(share: float, size: int, trusted: int) -> None:
    """All but the last batch are full and have the share; together they hold the epoch of the sampler, each position once."""
    sampler, batches = made(share, size)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        seen = list(batches)
        assert len(seen) == len(batches)
        assert all(len(b) == size and sum(i >= N for i in b) == trusted for b in seen[:-1])
        assert sum(i >= N for i in seen[-1]) >= 1
        assert [i for b in seen for i in b if i < N] == list(sampler)


def test_no_trusted_example_comes_again_before_all_have_come() -> None:
    """In an epoch the counts of trusted examples, cut into permutations of 7, repeat nothing inside one."""
    sampler, batches = made(0.8, 10)
    sampler.set_epoch(0)
    drawn = [i for b in batches for i in b if i >= N]
    assert all(len(set(drawn[at : at + M])) == len(drawn[at : at + M]) for at in range(0, len(drawn), M))
    assert set(drawn) == set(range(N, N + M))
    sampler.set_epoch(1)
    assert [i for b in batches for i in b if i >= N] != drawn


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    """Read twice, or after a resume, an epoch is the same; another seed draws otherwise."""
    sampler, batches = made()
    sampler.set_epoch(2)
    first = list(batches)
    again, resumed = made()
    again.load_state_dict(sampler.state_dict())
    assert list(resumed) == first
    sampler.set_epoch(2)
    assert list(TrustedBatches(sampler, M, 8, seed=1)) != first


def test_a_loader_reads_pool_and_trusted_set() -> None:
    """A DataLoader over both takes the batches; one over the pool alone is still refused."""
    sampler, batches = made()
    pool = cases.sat_task(N).pool
    x = torch.stack([pool[0][0]] * M)
    clean = TensorDataset(x, torch.zeros(M, dtype=torch.int64))
    sampler.set_epoch(1)
    sizes = [len(batch[0]) for batch in DataLoader(ConcatDataset([pool, clean]), batch_sampler=batches)]
    assert sum(sizes) == 10 + sum(len([i for i in b if i >= N]) for b in batches)
    with pytest.raises(ScheduleError, match="has 30 examples, and the sampler's positions count in a pool of 37"):
        list(DataLoader(pool, batch_sampler=batches))


def test_trusted_examples_have_weight_one() -> None:
    """The sampler's weights for its picks, 1 for the others, in the shape of the question."""
    sampler = CoresetSampler(cases.sat_task(N), RCSSampled(objective=cases.RD_WEAK), 10, warmup=0)
    batches = TrustedBatches(sampler, M, 8)
    sampler.set_epoch(0)
    batch = torch.tensor(next(iter(batches)))
    weights = batches.weights(batch)
    assert weights[batch >= N].tolist() == [1.0] * 4
    assert torch.equal(weights[batch < N], sampler.weights(batch[batch < N]))
    assert sampler.selection is not None
    left_out = next(i for i in range(N) if i not in sampler.selection.indices)
    with pytest.raises(ScheduleError, match="not in the current selection"):
        batches.weights(torch.tensor([left_out, N]))


def test_numbers_out_of_range_are_refused() -> None:
    """A share of all or nothing, batches of one, no trusted examples, a share that leaves the pool nothing."""
    sampler, _ = made()
    for given, said in (
        ((M, 8, 0.0), "above 0 and below 1"),
        ((M, 8, 1.0), "above 0 and below 1"),
        ((M, 1, 0.5), "batch_size"),
        ((0, 8, 0.5), "trusted"),
        ((M, 8, 0.99), "leaves no example of the pool"),
    ):
        with pytest.raises(ScheduleError, match=said):
            TrustedBatches(sampler, *given)
