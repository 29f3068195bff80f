"""The published modes of fine-tuning a pre-trained extractor f into a classifier W f(x): SLF, ALF, SFF and AFF.

    SLF   min_W    CE(W f(x), y)                             standard linear
    ALF   min_W    CE(W f(x̃), y)                             adversarial linear, x̃ raises the same CE
    SFF   min_W,f  CE(W f(x), y)                             standard full
    AFF   min_W,f  CE(W f(x), y) + 6·KL(p ‖ p̃)               adversarial full: TRADES, with separate normalisation
                                                             statistics for natural and attacked inputs

Source: the protocol of Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, and Luo,
Wang and Wang, "Rethinking the Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from coreselect.attacks import PGD
from coreselect.errors import UnknownNameError
from coreselect.losses import CE, SAT, TRADES
from coreselect.protocols import Attack, Call, Loss
from coreselect_integrations.finetuning.partly_labelled import DistilledTRADES
from coreselect_integrations.networks import route_call
from coreselect_integrations.training.schedule import Curve, constant, cosine, stairs, triangle

ATTACK = PGD(8 / 255, 2 / 255, 10)


CURVES = ("stairs", "cosine", "triangle", "constant")


@dataclass(frozen=True, slots=True)
class Mode:
    """What is trained in a fine-tuning, and how; use `dataclasses.replace` to change a setting.

    Args:
        name: the random draws depend on it too.
        linear: train only the head; everything else, including statistics, then stays the same bit for bit.
        loss, attack: see `sat.train_epoch`.
        dual_bn: whether training uses separate statistics for two routes; the resulting network has one route.
        epochs, batch_size, lr, weight_decay: ≥ 1, ≥ 1, > 0, ≥ 0; of SGD with momentum 0.9.
        milestones: epochs, each before `epochs`; at each, the learning rate falls to a tenth. For the curve `stairs`.
        call: (network, x, route) → logits.
        shape: the curve of the learning rate, one of `CURVES`.
        floor: the last factor of the curve `cosine`.
        nesterov: whether the momentum is Nesterov's.
        own_loss: the name under which a loss of the user's was admitted (`coreselect_integrations.own_code`); a run is not
            continued under another.
    Raises:
        UnknownNameError: no curve has this name.
    """

    name: str
    linear: bool
    loss: Loss
    attack: Attack | None
    dual_bn: bool = False
    epochs: int = 25
    batch_size: int = 512
    lr: float = 0.01
    weight_decay: float = 2e-4
    milestones: tuple[int, ...] = (10, 20)
    call: Call = route_call
    shape: str = "stairs"
    floor: float = 0.0
    nesterov: bool = False
    own_loss: str | None = None

    def __post_init__(self) -> None:
        if self.shape not in CURVES:
            raise UnknownNameError(f"no curve is called {self.shape!r}; there are {', '.join(CURVES)}.")

    def curve(self, epochs: int | None = None) -> Curve:
        """Return the factor of the learning rate over `epochs`; the milestones are scaled to another number of epochs."""
        E = self.epochs if epochs is None else epochs
        if self.shape == "cosine":
            return cosine(E, floor=self.floor)
        if self.shape == "triangle":
            return triangle(E)
        if self.shape == "constant":
            return constant()
        return stairs([max(1, round(m * E / self.epochs)) for m in self.milestones])


# The published settings for CIFAR-10 at 32 pixels after DynACL; `protocols.py` has those of other data and pre-trainings. The
# authors' TRADES attack starts 0.001·N(0, 1) away from x; this one starts anywhere in the ball, as PGD does.
SLF = Mode("slf", True, CE(), None)
ALF = Mode("alf", True, SAT(), ATTACK)
SFF = Mode("sff", False, CE(), None, batch_size=128, lr=0.1)
AFF = Mode("aff", False, TRADES(6.0), ATTACK, dual_bn=True, batch_size=128, lr=0.1, milestones=(15, 20))
# Semi-supervised: the student of `semi_supervised.py`, whose targets are labels and pseudo-labels. It is no mode for labels alone.
SEMI = Mode("semi", False, DistilledTRADES(), ATTACK, epochs=15, batch_size=200, lr=0.1, milestones=(5, 10))
MODES: Mapping[str, Mode] = MappingProxyType({m.name: m for m in (SLF, ALF, SFF, AFF)})
