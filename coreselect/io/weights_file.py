"""Files of weights as people have them: of torch or safetensors, whole, read without running code, under the model's names.

`torch.save` stores a checksum of every tensor and `torch.load` does not look at it, so a flipped bit loads as another weight.
Here every checksum is verified first.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch
from torch import Tensor, nn

from coreselect.errors import DataError, missing_extra

# Under which keys trainers keep weights: the first that a file holds is taken. The last is DynACL++'s second extractor.
KEYS = (
    "state_dict", "model_state_dict", "model", "net", "network", "weights", "encoder", "state_dict_ema", "model_ema", "ema",
    "state_dict_dual",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "encoder_q.")
OTHERS = {"encoder_q.": ("encoder_k.", "queue")}  # names that stand beside a prefix and are left out with it


@dataclass(frozen=True)
class FoundWeights:
    """The weights of a file under the names of a model.

    Attributes:
        weights: name -> tensor.
        key: under which key of the file they were; None: the file holds nothing else.
        other_keys: other sets of weights in the file.
        said: in words, what was chosen and what was done to the names; "" if there is nothing to say.
    """

    weights: Mapping[str, Tensor]
    key: str | None
    other_keys: tuple[str, ...]
    said: str


def load_verified(path: Path) -> Any:
    """Load a file of `torch.save` or safetensors on the CPU. No code in it is run, and every checksum is verified.

    A file in torch's old format, before version 1.6, has no checksums.

    Raises:
        DataError: the file is missing, damaged, of another kind, or asks for code to be run.
        MissingExtraError: it is a file of safetensors, which is not installed.
    """
    if not path.exists():
        raise DataError(f"there is no file {path}.")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if not path.is_file():
        raise DataError(f"{path} is no ordinary file, and a file of weights is needed: give the name of one.")
    damaged = None
    try:
        if is_zipfile(path):
            with ZipFile(path) as parts:
                _refuse_packed(parts, path)
                damaged = parts.testzip()
        held = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except UnpicklingError as why:
        raise DataError(f"{path} cannot be read as weights: {_blocked(why)}.") from why
    except Exception as why:  # torch raises many types for a file that is no checkpoint
        reason = (
            "a checksum is wrong, or it is cut off"
            if isinstance(why, BadZipFile | EOFError)
            else getattr(why, "strerror", None) or type(why).__name__
        )
        raise DataError(
            f"{path} cannot be read as weights ({reason}): save model.state_dict() with torch.save."
        ) from why
    if damaged:
        raise DataError(f"{path} is damaged (the checksum of {damaged!r} is wrong): use another copy.")
    return held


def _refuse_packed(parts: ZipFile, path: Path) -> None:
    """Refuse an archive with more bytes in its members than in itself: torch compresses nothing."""
    infos = parts.infolist()
    whole, size = sum(info.file_size for info in infos), path.stat().st_size
    if whole > size or len(infos) > size // 46:  # the bytes of an entry in the directory
        raise DataError(
            f"{path} unpacks to {whole:,} bytes and has {size:,}: torch.save compresses nothing, save it with that."
        )


@dataclass(frozen=True)
class ChosenWeights:
    """One set of weights of a file, under its own names, with the key it was under and the keys of other sets."""

    weights: Mapping[str, Tensor]
    key: str | None
    other_keys: tuple[str, ...]


def choose_weights(held: Any, path: str | Path, key: str | None = None, option: str = "--weights-key") -> ChosenWeights:
    """Choose a set of weights in what a file holds: that under `key`, or the file itself, or the first under a usual key.

    A set maps texts to tensors. Other things in it, such as a version, are left out.

    Args:
        held: what `load_verified` returned.
        path: for messages.
        key: a key of the file, such as `"state_dict_ema"`.
        option: what names the key on the command line.
    Raises:
        DataError: there are no weights, or none under this key.
    """
    sets = {str(k): v for k, v in held.items() if _is_weights(v)} if isinstance(held, Mapping) else {}
    if key is not None and key not in sets:
        there = f"has weights under {', '.join(map(repr, sets))}" if sets else "has no weights under a key"
        raise DataError(f"{path} {there}, not under {key!r}: give another {option}, or leave it out.")
    if key is not None or not _is_weights(held):
        key = key or next((k for k in KEYS if k in sets), next(iter(sets), None))
        if key is None:
            what = f"a {type(held).__name__}"
            if isinstance(held, Mapping) and held:
                what += f" with {', '.join(map(repr, list(held)[:8]))}"
            why = f"{path} holds {what}, and a state dict is needed: save model.state_dict() with torch.save."
            raise DataError(why)
        held = sets[key]
    weights = {str(name): tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}
    return ChosenWeights(weights, key, tuple(k for k in sets if k != key))


def find_weights(held: Any, names: Collection[str], path: Path, key: str | None = None) -> FoundWeights:
    """Find the weights of a model in what a file holds: a set that `choose_weights` takes, under the model's names.

    Common prefixes, as wrappers add them, are taken off or put before: of these forms the one whose names fit the model best is
    taken, the plain one among equals.

    Args:
        held, path, key: see `choose_weights`.
        names: of the model's state dict.
    Raises:
        DataError: there are no weights, or none under this key.
    """
    chosen = choose_weights(held, path, key)
    weights, others = chosen.weights, chosen.other_keys
    words = [f"weights under {chosen.key!r}"] if chosen.key is not None and (others or key) else []
    words += [f"it also holds {', '.join(map(repr, others))} (--weights-key)"] if others and key is None else []
    known = set(names)
    renamed, what = max(_renamings(weights), key=lambda one: len(one[0].keys() & known) - len(one[0].keys() - known))
    return FoundWeights(renamed, chosen.key, others, "; ".join([*words, *([what] if what else [])]))


def put_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path, what: str = "the model") -> None:
    """Put weights into a model whose names and shapes they have.

    Args:
        weights: as found by `find_weights`.
        path, what: the file and the model, for messages.
    Raises:
        DataError: names or shapes do not fit, or numbers are complex and the model's are not: torch would drop a part of them.
    """
    held = model.state_dict()
    wrong = [
        n for n, t in weights.items() if t.is_complex() and isinstance(held.get(n), Tensor) and not held[n].is_complex()
    ]
    if wrong:
        raise DataError(f"{path} does not fit {what}: {wrong[0]!r} holds complex numbers, and real ones are needed.")
    try:
        model.load_state_dict(dict(weights))
    except (RuntimeError, AttributeError, TypeError) as why:
        raise DataError(f"{path} does not fit {what}: {' '.join(str(why).split())[:300]}.") from why


def _is_weights(value: Any) -> bool:
    """Return whether a value is a state dict: a mapping of texts to tensors, and perhaps to other things, but to no mapping."""
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        return False
    held = list(value.values())
    return any(isinstance(v, Tensor) for v in held) and not any(isinstance(v, Mapping) for v in held)


def _renamings(weights: Mapping[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Yield the weights with up to two prefixes taken off, and with one put before what is left, and what was done in words."""
    found = [(dict(weights), "")]
    for first in PREFIXES:
        once = _without(weights, first)
        if once is None:
            continue
        found.append((once, f"names without {first!r}"))
        for second in PREFIXES:
            twice = _without(once, second)
            if twice is not None:
                found.append((twice, f"names without {first + second!r}"))
    yield from found
    for prefix in PREFIXES:
        for renamed, what in found:
            said = f"{what}, and with {prefix!r} before" if what else f"names with {prefix!r} before"
            yield {prefix + name: tensor for name, tensor in renamed.items()}, said


def _without(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    """Return the weights without a prefix, or None if a name has it not, and is none that may stand beside it."""
    if not any(name.startswith(prefix) for name in weights):
        return None
    if not all(name.startswith((prefix, *OTHERS.get(prefix, ()))) for name in weights):
        return None
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as why:
        raise missing_extra("safetensors", "transformers", f"reading {path}") from why
    try:
        return load_file(path, device="cpu")
    except Exception as why:  # the library raises its own types, and those of files
        reason = getattr(why, "strerror", None) or " ".join(str(why).split())[:160] or type(why).__name__
        raise DataError(f"{path} cannot be read as safetensors ({reason}): use another copy.") from why


def _blocked(why: UnpicklingError) -> str:
    """Say what in a pickle would run code."""
    text = " ".join(str(why).split())
    for begin in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        if begin in text:
            what = text.split(begin, 1)[1].split(" ", 1)[0]
            return f"it asks for {what}, and no code of a file is run: save the weights alone, torch.save(model.state_dict())"
    return f"it is no file of plain weights ({text.split('. ')[0][:160]}): save model.state_dict() with torch.save"
