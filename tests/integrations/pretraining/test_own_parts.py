"""Networks, losses, views and loops of the user's go through a run, its file, fine-tuning and a selection as ours do."""

from pathlib import Path
from typing import Any

import pytest
import torch
from own_parts import own_file
from tiny_runs import images, tiny

from coreselect.attacks import PGD
from coreselect.errors import DataError, NonFiniteError, RequirementError, ShapeError
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect_integrations.finetuning import MODES, finetune
from coreselect_integrations.networks import NetworkSpec, load_network, make, restore, route_call
from coreselect_integrations.own_code import admit, admitted
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.pretraining.trained import open_trained

pytest.importorskip("kornia")


def run(folder: Path, system: str, **more: Any) -> Pretrained:
    rcs = RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))
    return pretrain(tiny(system, **more), images(64), images(12, seed=8), folder, selector=rcs)


def name(tmp_path: Path, part: str, what: str = "network") -> str:
    return admit(f"{own_file(tmp_path)}:{part}", what)


@pytest.mark.parametrize(
    ("part", "system"), [("make", "sat"), ("make", "acl"), ("routed", "acl"), ("routed", "trades"), ("near", "sat")]
)
def test_a_network_of_ones_own_trains_is_saved_and_selects(part: str, system: str, tmp_path: Path) -> None:
    """The file gives the same outputs on both routes; two runs have the same bits; a selection of the file is possible."""
    arch = name(tmp_path, part)
    result = run(tmp_path / "a", system, arch=arch)
    again = run(tmp_path / "b", system, arch=arch)
    for key, value in result.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key]), key
    saved = restore(load_network(tmp_path / "a" / MODEL)).eval()
    x = torch.stack([images(4)[i][0] for i in range(4)])
    for route in ("natural", "adversarial"):
        assert torch.equal(saved(x, route), result.network(x, route))
    same = torch.equal(saved(x, "natural"), saved(x, "adversarial"))
    assert same == (part != "routed" or system == "trades")  # a classifier keeps one route, the adversarial one
    trained = open_trained(tmp_path / "a", images(64), "images", torch.device("cpu"))
    assert torch.equal(route_call(trained.model, x, "adversarial"), result.network(x, "adversarial"))


@pytest.mark.parametrize("mode", ["slf", "aff"])
def test_fine_tuning_keeps_everything_but_the_head(mode: str, tmp_path: Path) -> None:
    """The head begins at zero for other classes, and all other tensors are those of pre-training; slf leaves them as they are."""
    result = run(tmp_path / "run", "acl", arch=name(tmp_path, "routed"))
    weights = result.network.state_dict()
    tuned = finetune(MODES[mode], weights, result.spec, images(40), classes=3, seed=0, epochs=1, batch_size=20)
    held = tuned.network.state_dict()
    assert {*tuned.transfer.fresh} == {"model.fc.weight", "model.fc.bias"} == {*tuned.transfer.left_out}
    assert held["model.fc.weight"].shape == (3, 24)
    same = all(torch.equal(held[key], weights[key]) for key in tuned.transfer.loaded)
    assert same == (mode == "slf")
    assert not tuned.spec.dual_bn


def test_what_the_head_reads_is_the_representation(tmp_path: Path) -> None:
    """By hand: the body's output, with the modes of the network as they were."""
    network = make(NetworkSpec(name(tmp_path, "make"), classes=2))
    x = torch.rand(3, 3, 32, 32)
    network.eval()
    assert torch.equal(network.represent(x, "adversarial"), network.model.body(x))  # type: ignore[operator, union-attr]
    assert not network.training
    assert make(NetworkSpec(name(tmp_path, "make"), classes=2)).training


def test_a_file_of_other_code_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Code that was never given is asked for; a file whose text has changed is named, also when a run goes on."""
    arch = name(tmp_path, "make")
    run(tmp_path / "run", "sat", arch=arch)
    changed = admit(f"{own_file(tmp_path, more='# another text')}:make", "network")
    assert changed != arch
    with pytest.raises(
        RequirementError, match=r"a run with arch 'nets\.py:make@\w+', this one has 'nets\.py:make@\w+'"
    ):
        run(tmp_path / "run", "sat", arch=changed)
    known = Path(tmp_path / "run" / MODEL)
    torch.save(
        {**torch.load(known), "network": {**torch.load(known)["network"], "arch": "nets.py:make@00000000"}}, known
    )
    with pytest.raises(
        DataError, match=r"nets\.py:make@00000000, and nets\.py:make@\w+ was given, whose file has another text"
    ):
        load_network(known)
    with pytest.raises(RequirementError, match=r"code of yours, other\.py:f@1: give it with --model other\.py:f"):
        admitted("other.py:f@1", "network", "--model")


def test_outputs_are_counted_before_any_epoch(tmp_path: Path) -> None:
    """A function without `classes` must make what the data need; a network that fails on the images is named."""
    with pytest.raises(RequirementError, match="has 2 outputs and the data have 7 classes"):
        make(NetworkSpec(name(tmp_path, "two"), classes=7))
    with pytest.raises(DataError, match="fails on images of 1 channels"):
        make(NetworkSpec(name(tmp_path, "two"), channels=1, classes=2))


def test_an_object_with_logits_is_an_output(tmp_path: Path) -> None:
    """Such a network has the outputs and the head of the one that returns them alone; a tuple is refused."""
    more = """
from types import SimpleNamespace
class Wrapped(Net):
    def forward(self, x):
        return SimpleNamespace(logits=super().forward(x))
class Pair(Net):
    def forward(self, x):
        return super().forward(x), x
def wrapped(classes, channels): return Wrapped(channels, classes)
def pair(classes, channels): return Pair(channels, classes)
"""
    file = own_file(tmp_path, more=more)
    plain, wrapped = (make(NetworkSpec(admit(f"{file}:{n}", "network"), classes=3), 0) for n in ("make", "wrapped"))
    wrapped.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain.eval()(x), wrapped.eval()(x))
    assert plain.head_name == wrapped.head_name
    with pytest.raises(DataError, match=r"gives tuple for two images: a tensor .* or an object with such `logits`"):
        make(NetworkSpec(admit(f"{file}:pair", "network"), classes=3))


def test_a_loss_of_ones_own_takes_the_place_of_the_systems(tmp_path: Path) -> None:
    """A function reads natural outputs in `standard` and attacked ones in `sat`; without smoothing the log is the system's."""
    smooth = name(tmp_path, "smooth", "loss")
    plain = name(tmp_path, "plain", "loss")
    for system in ("standard", "sat"):
        ours = run(tmp_path / system, system)
        same = run(tmp_path / f"{system}-own", system, own_loss=plain)
        other = run(tmp_path / f"{system}-smooth", system, own_loss=smooth)
        assert [r["loss"] for r in ours.records] == [r["loss"] for r in same.records]
        assert [r["loss"] for r in ours.records] != [r["loss"] for r in other.records]


def test_views_of_ones_own_are_what_is_trained_on(tmp_path: Path) -> None:
    """Their losses differ from those of our views; a supervised system has none."""
    own = name(tmp_path, "views", "views")
    assert run(tmp_path / "a", "cl").records[0]["loss"] != run(tmp_path / "b", "cl", own_views=own).records[0]["loss"]
    with pytest.raises(RequirementError, match="sat makes no views"):
        tiny("sat", own_views=own)
    with pytest.raises(RequirementError, match="reads 1 views, and acl makes 2"):
        tiny("acl", own_loss=name(tmp_path, "smooth", "loss"))
    for system in ("moco", "byol"):
        with pytest.raises(RequirementError, match=f"{system} has a loss of its own"):
            tiny(system, own_loss=name(tmp_path, "smooth", "loss"))


def test_a_loop_of_ones_own_trains_each_epoch(tmp_path: Path) -> None:
    """It gets the batches of the sampler, in number and size; a run that is stopped goes on with it to the same bits."""
    own = name(tmp_path, "train", "trainer")
    whole = run(tmp_path / "a", "standard", own_epoch=own)
    assert [r["examples"] for r in whole.records] == [64, 16, 16]
    assert whole.records[2]["loss"] < whole.records[0]["loss"]
    settings = tiny("standard", own_epoch=own)
    rcs = RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))
    for until in (1, None):
        cut = pretrain(settings, images(64), images(12, seed=8), tmp_path / "b", selector=rcs, until=until)
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, cut.network.state_dict()[key])


@pytest.mark.parametrize(("system", "loss"), [("moco", "MoCo"), ("byol", "BYOL")])
def test_a_loop_of_ones_own_gets_the_loss_that_trains(system: str, loss: str, tmp_path: Path, capsys: Any) -> None:
    """It is that of the two encoders, with the queue or the target, and not that of a finished network."""
    own = name(tmp_path, "contrast", "trainer")
    pretrain(tiny(system, own_epoch=own, epochs=1), images(32), (), tmp_path / "run")
    assert capsys.readouterr().out.split() == [loss]


LOOPS = """
def none(job): return 0.0
def some(job): return next(iter(job.batches)) and 1.0
def twice(job): return train(job) + train(job)
def percent(job): return train(job), 50
def nan(job): return train(job), float("nan")
def word(job): return train(job) and "0.5"
def three(job): return train(job), 0.5, 1
def idle(job): return sum(float(F.cross_entropy(job.network(x), y)) for x, y, index in job.batches)
def empty(): return 0.0
"""


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ("none", r"read 0 of the 4 batches"),
        ("some", r"read 1 of the 4 batches"),
        ("twice", r"a second time"),
        ("percent", r"the accuracy 50: a share in \[0, 1\] is needed"),
        ("nan", r"the accuracy nan: a share"),
        ("word", r"returned str: the mean loss is needed"),
        ("three", r"returned \(float, float, int\): the mean loss"),
        ("idle", r"changed no parameter of the network: call job.optimizer.step\(\)"),
        ("empty", r"takes \(\), and is called with \(job\)"),
    ],
)
def test_a_loop_that_is_no_epoch_on_all_batches_is_refused(loop: str, said: str, tmp_path: Path) -> None:
    """It would be compared with loops that train on every batch; what it returns is a loss and a share of answers."""
    own = admit(f"{own_file(tmp_path, more=LOOPS)}:{loop}", "trainer")
    with pytest.raises(RequirementError, match=said):
        pretrain(tiny("standard", own_epoch=own, epochs=1), images(64), (), tmp_path / "run")


VIEWS = """
def cut(x, generator): return x[..., :2, :2], x[..., :2, :2]
def uneven(x, generator): return x[..., :4, :4], x
def one(x, generator): return x
def three(x, generator): return x, x, x
def whole(x, generator): return (255 * x).byte(), (255 * x).byte()
def single(x, generator): return x[:1], x[:1]
def nan(x, generator): return x, x * float("nan")
def broken(x, generator): raise KeyError("boom")
def empty(): return 0
class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 5)
    def forward(self, x):
        return self.fc(x.flatten(1))
"""


@pytest.mark.parametrize("system", ["cl", "acl-air"])
@pytest.mark.parametrize(
    ("views", "said"),
    [
        ("cut", "the network fails on the views .*resize views"),
        ("uneven", "of one shape"),
        ("one", "of one shape|a tuple with every view"),
        ("three", "2 floating-point tensors|3 floating-point tensors"),
        ("whole", "uint8"),
        ("single", "with a row for each image"),
        ("nan", "hold NaN"),
        ("broken", "KeyError: 'boom'"),
        ("empty", r"takes \(\), and is called with \(x, generator\)"),
    ],
)
def test_views_that_cannot_be_trained_on_are_refused_before_training(
    system: str, views: str, said: str, tmp_path: Path
) -> None:
    """They are made for one image and for a few, and the network is run on them, before a folder is written."""
    file = own_file(tmp_path, more=VIEWS)
    own, arch = admit(f"{file}:{views}", "views"), admit(f"{file}:Flat", "network")
    with pytest.raises((RequirementError, ShapeError, NonFiniteError), match=said):
        pretrain(tiny(system, own_views=own, arch=arch), images(64), (), tmp_path / "run")
    assert not (tmp_path / "run").exists()
