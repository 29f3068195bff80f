"""Fine-tuning of pre-trained extractors: the modes SLF, ALF, SFF and AFF, AutoLoRa, and the pseudo-labels of DynACL++."""

from coreselect_integrations.finetuning.modes import AFF, ALF, MODES, SFF, SLF, Mode
from coreselect_integrations.finetuning.run import Finetuned, finetune, train_all_epochs
from coreselect_integrations.finetuning.tuning import Tuning, begin, finish, train_epoch

__all__ = [
    "AFF",
    "ALF",
    "MODES",
    "SFF",
    "SLF",
    "Finetuned",
    "Mode",
    "Tuning",
    "begin",
    "finetune",
    "finish",
    "train_all_epochs",
    "train_epoch",
]
