"""MoCo contrasts queries with keys of a following encoder and with a queue of old keys."""

import pytest
import torch
from bright_dark import gen
from oracles import info_nce
from torch import Tensor
from torch.utils.data import TensorDataset

from coreselect import select
from coreselect.attacks import PGD
from coreselect.errors import RequirementError, ShapeError
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.networks import route_call
from coreselect_integrations.networks.small import SmallConv, small_conv_contrastive
from coreselect_integrations.systems import acl
from coreselect_integrations.systems.moco import MoCo, MomentumContrast


def images(n: int = 16, seed: int = 7) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=gen(seed))


def net(seed: int = 0) -> SmallConv:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return small_conv_contrastive(3, 8, dual_bn=False)


def test_the_loss_is_its_definition() -> None:
    """Each example's loss is that of one query at a time with K negatives, or with the other keys of the batch."""
    q, k, queue = (torch.randn(n, 6, generator=gen(s), dtype=torch.float64) for n, s in ((5, 1), (5, 2), (9, 3)))
    queue = queue / queue.norm(dim=1, keepdim=True)
    want = torch.stack([info_nce(a, b, list(queue), 0.2) for a, b in zip(q, k, strict=True)])
    assert torch.allclose(MoCo(0.2, lambda: queue).each((), (q, k), None), want, rtol=1e-12)
    assert torch.allclose(MoCo(0.2, lambda: queue)((), (q, k), None), want.mean(), rtol=1e-12)
    others = [[k[j] for j in range(5) if j != i] for i in range(5)]
    want = torch.stack([info_nce(q[i], k[i], others[i], 0.2) for i in range(5)])
    assert torch.allclose(MoCo(0.2).each((), (q, k), None), want, rtol=1e-12)


def test_no_gradient_flows_through_the_keys() -> None:
    """The gradient of the loss in k is none at all."""
    q, k = (torch.randn(4, 6, generator=gen(s)).requires_grad_() for s in (1, 2))
    MoCo(0.2)((), (q, k), None).backward()
    assert q.grad is not None
    assert q.grad.abs().max() > 0
    assert k.grad is None


def test_the_queue_holds_the_last_keys_oldest_out_first() -> None:
    """K = 5 and batches of 3: after one update the first three places are new; after two, the ring has wrapped by one."""
    encoder = MomentumContrast(net(), queue=5, momentum=0.9)
    first = encoder.queue.clone()
    assert torch.allclose(first.norm(dim=1), torch.ones(5))
    encoder.train()
    k1 = encoder(images(6, 1), "natural").chunk(2)[1]
    encoder.update()
    k1 = k1 / k1.norm(dim=1, keepdim=True)
    assert torch.allclose(encoder.queue, torch.cat([k1, first[3:]]))
    k2 = encoder(images(6, 2), "natural").chunk(2)[1]
    encoder.update()
    k2 = k2 / k2.norm(dim=1, keepdim=True)
    assert torch.allclose(encoder.queue, torch.stack([k2[2], k1[1], k1[2], k2[0], k2[1]]))
    encoder.eval()
    held = encoder.queue.clone()
    encoder(images(6, 3), "natural")
    encoder.update()
    assert torch.equal(encoder.queue, held)  # keys of evaluation are not kept


def test_a_batch_larger_than_the_queue_leaves_its_last_keys() -> None:
    """Of 8 keys, the last 5 are kept."""
    encoder = MomentumContrast(net(), queue=5).train()
    k = encoder(images(16), "natural").chunk(2)[1]
    encoder.update()
    kept = k / k.norm(dim=1, keepdim=True)
    assert torch.allclose(encoder.queue, kept[-5:])


def test_queries_and_keys_are_normalised_in_other_company() -> None:
    """Of 32 images: four passes of 8 neighbours for queries, four of every fourth image for keys; one pass in evaluation."""
    encoder = MomentumContrast(net(), queue=8)
    x, y = images(32, 1), images(32, 2)
    encoder.train()
    q, k = encoder(torch.cat([x, y]), "natural").chunk(2)
    assert torch.equal(q[8:16], encoder.query(x[8:16], "natural"))
    assert torch.equal(k[1::4], encoder.key(y[1::4], "natural"))
    encoder.eval()
    q, k = encoder(torch.cat([x, y]), "natural").chunk(2)
    assert torch.allclose(q, encoder.query(x, "natural"), atol=1e-6)
    assert torch.allclose(k, encoder.key(y, "natural"), atol=1e-6)


def test_an_epoch_trains_the_query_and_the_key_follows() -> None:
    """After one step of the plain loop k = m·k₀ + (1 − m)·q₁, and the loss was that of the first, random queue."""
    encoder = MomentumContrast(net(), queue=12, momentum=0.9, seed=3)
    again = MomentumContrast(net(), queue=12, momentum=0.9, seed=3).train()
    optimizer = torch.optim.SGD(encoder.query.parameters(), 0.05)
    encoder.attach(optimizer)
    k0 = [p.detach().clone() for p in encoder.key.parameters()]
    loss = MoCo(0.1, encoder.negatives)
    log = acl.train_epoch(
        encoder, [images()], optimizer, None, generator=gen(), loss=loss, call=route_call,
        views=lambda x, g: (x, x.flip(-1)),
    )  # fmt: skip
    for a, q, k in zip(k0, encoder.query.parameters(), encoder.key.parameters(), strict=True):
        assert torch.allclose(k, 0.9 * a + 0.1 * q.detach(), atol=1e-6)
    q, k = again(torch.cat([images(), images().flip(-1)]), "natural").chunk(2)
    first = torch.stack([info_nce(a, b, list(again.queue), 0.1) for a, b in zip(q, k, strict=True)])
    assert log.loss == pytest.approx(float(first.mean().detach()), rel=1e-4)
    assert encoder.result is encoder.query


def test_rcs_selects_under_the_loss_of_the_run() -> None:
    """The query alone is the model of a selection, with the queue as negatives; another queue gives other rows."""
    encoder = MomentumContrast(net(), queue=12).eval()
    rows = []
    for seed in (1, 2):
        encoder.queue.copy_(torch.nn.functional.normalize(torch.randn(12, 128, generator=gen(seed)), dim=1))
        task = acl.task(
            encoder.query, TensorDataset(images(16)), TensorDataset(images(6, 9)), head="head",
            loss=MoCo(0.1, encoder.negatives), attack=None, views=lambda x, g: (x, x.flip(-1)),
        )  # fmt: skip
        chosen = select(task, RCS(RD("kl", attack=PGD(8 / 255, 10 / 255, 1)), group_size=4, certify=None), 8)
        assert len(set(chosen.indices.tolist())) == 8
        assert chosen.provenance.task["loss"]["negatives"] == "MomentumContrast.negatives"
        rows.append(chosen.gains)
    assert not torch.equal(torch.as_tensor(rows[0]), torch.as_tensor(rows[1]))


def test_refusals() -> None:
    """A temperature that is not positive, an empty queue and an odd batch are refused."""
    with pytest.raises(ShapeError, match="temperature"):
        MoCo(0.0)
    with pytest.raises(RequirementError, match="at least one key"):
        MomentumContrast(net(), queue=0)
    with pytest.raises(ShapeError, match="even number"):
        MomentumContrast(net(), queue=4)(images(5), "natural")
