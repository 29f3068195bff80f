"""What a run trains: the network itself, or the network with a second encoder that follows it; and the losses that both read."""

from torch import nn

from coreselect.errors import RequirementError
from coreselect.protocols import Loss
from coreselect_integrations.networks import RoutedNetwork
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SECOND_ENCODER
from coreselect_integrations.systems.byol import BYOL, Bootstrap, OnlineBYOL, momentum
from coreselect_integrations.systems.dynacl import MomentumEncoder
from coreselect_integrations.systems.moco import MoCo, MomentumContrast


def encoder_for(settings: Settings, network: RoutedNetwork) -> nn.Module:
    """Return the module to train, around the network itself."""
    if settings.system == "moco":
        return MomentumContrast(network, settings.queue, settings.key_momentum, settings.seed)
    if settings.system == "byol":
        return Bootstrap(network, settings.key_momentum, settings.seed)
    return MomentumEncoder(network, settings.key_momentum) if settings.key_momentum else network


def refuse_ranks(settings: Settings, world: int) -> None:
    """Refuse to train MoCo and BYOL on several ranks: the queue and the target would follow each rank's share of a batch.

    Raises:
        RequirementError: there are several ranks, and the system is one of these.
    """
    if world > 1 and settings.system in SECOND_ENCODER:
        raise RequirementError(
            f"{settings.system} trains on one process, because its second encoder follows whole batches, and there are {world}: "
            "start it without torchrun."
        )


def result_of(model: nn.Module) -> RoutedNetwork:
    """Return the network that a run ends with."""
    kept = model.result if isinstance(model, MomentumEncoder) else model
    assert isinstance(kept, RoutedNetwork)  # each encoder is the network or a copy of it
    return kept


def losses(settings: Settings, epoch: int, model: nn.Module) -> tuple[Loss, Loss]:
    """Return the loss that trains the model in an epoch, and the loss whose gradients a selection compares.

    A selection sees the trained encoder alone. It stands for the one that follows it, and no gradient flows through it there.
    """
    if isinstance(model, MomentumContrast):
        loss = MoCo(settings.temperature, model.negatives)
        return loss, loss
    if isinstance(model, Bootstrap):
        model.momentum = momentum(settings.key_momentum, epoch, settings.epochs)
        return BYOL(), OnlineBYOL(model.predict)
    loss = settings.loss(epoch)
    return loss, loss
