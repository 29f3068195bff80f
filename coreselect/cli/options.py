"""The options that several commands have: each is declared here once, with one help text.

A value of None means the default of the command, which its help shows.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from coreselect.support.type_checks import LARGEST_SEED

MODEL, METHOD, ATTACKS, RUN = "Model", "Method", "Attacks", "Run"  # panels of the help
CONDITIONS = "Pool and validation"

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Radius = Annotated[
    float | None,
    typer.Option(min=0.0, help="Radius of the attacks, l∞, for inputs in [0, 1].", rich_help_panel=ATTACKS),
]
Selector = Annotated[
    str | None, typer.Option(help="Method, such as rcs or rs2:balance=labels. `coreselect methods` lists the names.")
]
Arch = Annotated[
    str | None,
    typer.Option(help="Network: small, resnet18, resnet34, resnet50 or wrn28_10.", rich_help_panel=MODEL),
]
PRECISIONS = ("fp32", "bf16")


AUTO = "auto"  # `select` alone: a run that goes on must not choose again


def _precision(names: tuple[str, ...]) -> Any:
    """Make the option, which takes these names."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in names:
            raise typer.BadParameter(f"it is {', '.join(names[:-1])} or {names[-1]}, got {value!r}.")
        return value

    return typer.Option(
        help="Precision of passes through the network: fp32, bf16, or (select) auto, the faster one on this machine. "
        "In a selection only the attack uses it.",
        callback=check,
        rich_help_panel=RUN,
    )


Precision = Annotated[str | None, _precision(PRECISIONS)]
AttackPrecision = Annotated[str | None, _precision((*PRECISIONS, AUTO))]
Fraction = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of the images to choose.")]
GroupSize = Annotated[int | None, typer.Option(min=1, help="Examples in a candidate group.", rich_help_panel=METHOD)]
Capture = Annotated[
    str | None,
    typer.Option(
        help="Whose gradients are compared: those of the head, of all parameters, or (select) of the parameters whose "
        "names match a pattern.",
        rich_help_panel=METHOD,
    ),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images in one batch.", rich_help_panel=RUN)]


def _seed(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= LARGEST_SEED:
        raise typer.BadParameter(f"a whole number from 0 to 2⁶³ − 1 is needed, got {value}.")
    return value


Seed = Annotated[int | None, typer.Option(help="Seed of every random draw.", callback=_seed, rich_help_panel=RUN)]
NumThreads = Annotated[int | None, typer.Option(min=1, help="CPU threads of PyTorch.", rich_help_panel=RUN)]
Device = Annotated[str | None, typer.Option(help="Device: cpu, cuda or cuda:1, for example.", rich_help_panel=RUN)]
FROM = typer.Option(
    "--from", help="model.pt (or folder) of `coreselect train` or `coreselect finetune`, or a published checkpoint."
)
LossName = Annotated[
    str | None,
    typer.Option(
        help="Training loss: sat, trades, ce, cl, acl or file.py:loss. A network is warmed up with sat or acl.",
        rich_help_panel=MODEL,
    ),
]
ViewsName = Annotated[
    str | None,
    typer.Option(help="Function that makes two views of an image: file.py:function.", rich_help_panel=MODEL),
]
ANY_DEVICE = "cuda if there is one, else cpu"


@dataclass(frozen=True)
class DataOptions:
    """Which images are read."""

    data: Annotated[
        str,
        typer.Option(
            help="digits, a folder of arrays, of images or of published files (CIFAR, STL-10, SVHN, ImageNet), or "
            "module:factory. FOLDER@unlabelled names a part."
        ),
    ] = "digits"
    rows: Annotated[int | None, typer.Option(min=2, help="Use only the first N images.")] = None
    size: Annotated[int | None, typer.Option(min=1, help="Side to which images are resized, in pixels.")] = None
    resize: Annotated[
        str | None,
        typer.Option(
            help="How: fit (centred square), stretch (whole image), imagenet (its usual evaluation) or box (averages).",
            show_default="fit",
        ),
    ] = None

    @property
    def record(self) -> dict[str, Any]:
        """Which images were read, for records and JSON."""
        return {"data": self.data, "rows": self.rows, "size": self.size, "resize": self.resize}

    def read(self, split: Literal["train", "test"], rows: int | None) -> Any:
        """Load one split of the images, resized as asked; `rows` of them, or all.

        Raises:
            DataError, MissingExtraError, UnknownNameError: see `coreselect.data.load`.
        """
        from coreselect.data import load  # imports torch, which --help does without

        return load(self.data, split, rows, size=self.size, resize=self.resize)


@dataclass(frozen=True)
class PoolOptions(DataOptions):
    """Which images are read, and how many of them are held out."""

    validation: Annotated[
        float | None,
        typer.Option(min=0.0, help="Images held out to measure RD: a share below 1, or a count."),
    ] = None


@dataclass(frozen=True)
class ConditionOptions:
    """What is wrong with the pool, and a clean validation set of the user's."""

    conditions: Annotated[
        str | None,
        typer.Option(
            "--pool",
            help="Make the pool impure on purpose: tail=20 (rare classes), labels-wrong=0.4; not for select: foreign=0.5:DATA, "
            "duplicates=10, shift=fog:3 (validation and test images); separated by commas.",
            show_default="as it is",
            rich_help_panel=CONDITIONS,
        ),
    ] = None
    validation_data: Annotated[
        str | None,
        typer.Option(
            help="Dataset whose training part serves for validation, in place of held-out images; forms as for --data.",
            show_default="held out",
            rich_help_panel=CONDITIONS,
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, by name, for records and JSON."""
        own = {"pool": self.conditions, "validation_data": self.validation_data}
        return {name: value for name, value in own.items() if value is not None}


@dataclass(frozen=True)
class OwnModelOptions:
    """A network of the user's."""

    model: Annotated[
        str | None,
        typer.Option(help="Factory of the model: package.module:factory or file.py:factory.", rich_help_panel=MODEL),
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Weights of --model. No code in the file is run.", rich_help_panel=MODEL),
    ] = None
    weights_key: Annotated[
        str | None,
        typer.Option(
            help="Key of --checkpoint under which the weights are, such as state_dict_ema.",
            show_default="a usual one",
            rich_help_panel=MODEL,
        ),
    ] = None
    routes: Annotated[
        str | None,
        typer.Option(
            help="The model's names of its natural and its adversarial route: normal,pgd.",
            show_default="recognised",
            rich_help_panel=MODEL,
        ),
    ] = None


@dataclass(frozen=True)
class WarmupOptions:
    """The network that is trained first where no model is given."""

    loss: LossName = None
    arch: Arch = None
    warmup_epochs: Annotated[int | None, typer.Option(min=0, help="Epochs of the warm-up.", rich_help_panel=MODEL)] = (
        None
    )


@dataclass(frozen=True)
class RcsOptions:
    """Settings of RCS and of its objective."""

    eta: Annotated[
        float | None, typer.Option(min=0.0, help="Step size of rcs for each pick.", rich_help_panel=METHOD)
    ] = None
    rd_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of the attack on the held-out images.", rich_help_panel=ATTACKS),
    ] = None


@dataclass(frozen=True)
class AttackOptions:
    """The attack of training."""

    radius: Radius = None
    attack_steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of the training attack.", rich_help_panel=ATTACKS)
    ] = None


@dataclass(frozen=True)
class MachineOptions:
    """Where the work is done, and how images are read."""

    num_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes that read images.",
            show_default="0, on a GPU a process for each of up to 8 cores",
            rich_help_panel=RUN,
        ),
    ] = None
    read_timeout: Annotated[
        float,
        typer.Option(
            min=0.0, help="Seconds to wait for a batch from these processes; 0: without limit.", rich_help_panel=RUN
        ),
    ] = 0.0
    device: Device = None

    def workers(self, device: Any) -> int:
        """Return how many processes read images: on a GPU some by default, because it waits for the images else."""
        if self.num_workers is not None:
            return self.num_workers
        return min(8, os.cpu_count() or 1) if device.type == "cuda" else 0
