"""Fine-tuning of pre-trained extractors: SLF, ALF, SFF, AFF; AutoLoRa and the ++ of DynACL++ in files of their own."""

from coreselect_integrations.finetuning.tuning import (
    AFF,
    ALF,
    MODES,
    SFF,
    SLF,
    Finetuned,
    Mode,
    Tuning,
    begin,
    finetune,
    finish,
    train_epoch,
)

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
    "train_epoch",
]
