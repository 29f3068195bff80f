"""The place of an attack inside a model: what is refused, what is masked, and that no hook stays behind."""

import re
from collections.abc import Callable
from typing import Any, cast

import cases
import pytest
import torch
from contract import photograph
from text_tasks import L2, LINF, PAD, Reader, Texts, reader, text_task
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coreselect import AttackAt, select
from coreselect.attacks import PGD
from coreselect.errors import CoreselectError, HeadError, ShapeError
from coreselect.network.nearest_names import nearest_names
from coreselect.selectors import RCS


class Twice(Reader):
    """Embeddings that are looked up two times."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.rest(self.embed(input_ids) + self.embed(input_ids.flip(1)), mask)


class Idle(Reader):
    """A layer that is never called, one that gives two tensors, and one that gives integers."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.pair, self.whole = nn.Linear(2, 2), Two(), Rounded()

    def rest(self, e: Tensor, mask: Tensor) -> Tensor:
        e = self.pair(e)[0]
        self.whole(e)
        return super().rest(e, mask)


class Two(nn.Module):
    """Two tensors."""

    def forward(self, e: Tensor) -> tuple[Tensor, Tensor]:
        return e, e


class Rounded(nn.Module):
    """Integers."""

    def forward(self, e: Tensor) -> Tensor:
        return e.long()


class Detached(Reader):
    """Embeddings that are computed without gradients."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            e = self.embed(input_ids)
        return self.rest(e, torch.ones_like(input_ids) if attention_mask is None else attention_mask)


class Checkpointed(Reader):
    """Embeddings that are computed again in the backward pass."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        z = checkpoint(lambda ids: torch.tanh(self.body(self.embed(ids))), input_ids, use_reentrant=False)
        m = mask[..., None].to(z)
        return self.fc((z * m).sum(1) / m.sum(1))  # type: ignore[operator]  # a tensor


class TokensFirst(Reader):
    """Embeddings [T, B, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turned()

    def rest(self, e: Tensor, mask: Tensor) -> Tensor:
        return super().rest(self.turn(e).transpose(0, 1), mask)


class Turned(nn.Module):
    """Batch and positions change places."""

    def forward(self, e: Tensor) -> Tensor:
        return e.transpose(0, 1)


WRONG: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "no such name": (Reader, "embd", "no submodule 'embd' for attack_at; the nearest names are embed"),
    "the model": (Reader, "", "no submodule ''"),
    "in the head": (Reader, "fc", "lies in the head 'fc'"),
    "called twice": (Twice, "embed", "called 2 times"),
    "never called": (Idle, "idle", "called 0 times"),
    "two tensors": (Idle, "pair", "a tuple of 2"),
    "integers": (Idle, "whole", "int64"),
    "no gradient": (Detached, "embed", "no_grad"),
    "checkpointed": (Checkpointed, "embed", "gradient checkpointing"),
    "tokens first": (TokensFirst, "turn", "for 4 inputs"),
    "mask of another shape": (Reader, AttackAt("embed", mask=lambda x: x["attention_mask"][:, :2]), r"mask of attack_at"),
    "no mask": (Reader, AttackAt("embed", mask=cast(Any, lambda x: 3)), "a int"),
}  # fmt: skip


@pytest.mark.parametrize("which", list(WRONG))
def test_what_cannot_work_is_refused_in_one_sentence(which: str) -> None:
    """The sentence says what was got and what to name, and the model is as before."""
    make, at, said = WRONG[which]
    model = cases.built(make)
    before = photograph(model)
    with pytest.raises((HeadError, ShapeError), match=said) as caught:
        select(text_task(model=model, attack_at=at), RCS(group_size=3), 7)
    assert "\n" not in str(caught.value)
    assert photograph(model) == before
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.filterwarnings("ignore:.*jit.script.*:DeprecationWarning")
def test_scripted_submodules_take_no_hooks() -> None:
    """TorchScript is refused when the task is made."""
    model: Any = reader()
    model.embed = torch.jit.script(model.embed)
    with pytest.raises(HeadError, match="TorchScript"):
        text_task(model=model)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("embeddings", "bert.embeddings"),
        ("bert.embedings", "bert.embeddings"),
        ("bert.encoder.0.atention", "attention"),
    ],
)
def test_the_nearest_names_are_said(wanted: str, first: str) -> None:
    """A name without its prefix, and misspelt names, are found."""
    names = ["", "bert", "bert.embeddings", "bert.encoder", "bert.encoder.0", "bert.encoder.0.attention", "classifier"]
    assert first in nearest_names(wanted, names).split(", ")[0]
    assert "no submodules" in nearest_names("x", [""])


class Failing(Reader):
    """Raises in some forward pass, after the embeddings."""

    error: type[BaseException] = KeyboardInterrupt
    left = -1

    def rest(self, e: Tensor, mask: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().rest(e, mask)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, CoreselectError])
@pytest.mark.parametrize("after", [1, 7, 8, 9, 15, 40])
def test_no_hook_stays_behind(error: type[BaseException], after: int) -> None:
    """Whenever the forward pass fails or Ctrl-C is pressed, hooks, modes and parameters are as before."""
    model: Any = cases.built(Failing)
    own = model.embed.register_forward_hook(lambda *_: None)
    before = photograph(model)
    task = text_task(model=model)
    model.error, model.left = error, after
    with pytest.raises((error, CoreselectError)):
        select(task, RCS(group_size=3), 7)
    del model.error, model.left
    assert photograph(model) == before
    assert [len(m._forward_hooks) for m in model.modules()] == [int(m is model.embed) for m in model.modules()]
    own.remove()


@pytest.mark.parametrize("attack", [LINF, L2, PGD(0.3, 0.1, 0, bounds=None)], ids=["linf", "l2", "random"])
@pytest.mark.parametrize("train", [False, True])
def test_a_loop_of_ones_own_attacks_likewise(attack: PGD, train: bool) -> None:
    """`attacked` stays in the ball, is 0 at padding, raises the loss, asks for no gradients, and follows its seed."""
    attack = PGD(attack.radius, attack.step, attack.steps, norm=attack.norm, bounds=None)
    model, data, at = reader().train(train), Texts(9), AttackAt("embed")
    x, y = {"input_ids": data.ids, "attention_mask": data.mask}, data.y

    def loss(outputs: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, y, reduction="sum")

    hit = at.attacked(model, x, attack, loss, seed=4)
    assert torch.equal(hit.delta, at.attacked(model, x, attack, loss, seed=4).delta)
    assert bool((hit.delta[data.ids == PAD] == 0).all())
    far = hit.delta.abs().amax((1, 2)) if attack.norm == "linf" else hit.delta.flatten(1).norm(dim=1)
    assert bool((far <= attack.radius + 1e-12).all())
    if attack.steps:
        assert loss(at.run(model, hit)).item() > loss(at.run(model, x)).item()
    assert torch.allclose(at.run(model, hit), model.rest(model.embed(data.ids) + hit.delta, data.mask))
    assert all(p.grad is None for p in model.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = at.attacked(model, x, attack, loss)
        torch.manual_seed(0)
        assert torch.equal(one.delta, at.attacked(model, x, attack, loss).delta)
    loss(at.run(model, hit)).backward()
    assert model.embed.weight.grad is not None


def test_masks_are_found_in_this_order() -> None:
    """A mask of one's own, else attention_mask, else padding_idx of an embedding, else nothing is masked."""
    data, model = Texts(5), reader()
    x: dict[str, Any] = {"input_ids": data.ids, "attention_mask": data.mask}
    other = data.mask & (data.ids > 3)
    own = AttackAt("embed", mask=lambda x: other).point(model, x)
    given = AttackAt("embed").point(model, {**x, "attention_mask": other})
    padding = AttackAt("embed").point(model, {"input_ids": data.ids})
    body = AttackAt("body").point(model, {"input_ids": data.ids})
    pooled = AttackAt("fc").point(model, x)
    for point, want in ((own, other), (given, other), (padding, data.mask)):
        assert point.mask is not None
        assert re.fullmatch(r"torch\.Size\(\[5, 6, 1\]\)", str(point.mask.shape))
        assert torch.equal(point.mask[..., 0].bool(), want)
    assert body.mask is None
    assert pooled.mask is None, "an attention mask is about positions"
