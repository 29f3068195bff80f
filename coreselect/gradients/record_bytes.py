"""The record of a batch as bytes and back, bit for bit: a head in JSON that names the tensors, then their numbers."""

from collections.abc import Sequence
from typing import Any

import torch

from coreselect.gradients.parts import Record
from coreselect.io import strict_json

ALIGNED = 64  # tensors begin at multiples of this


def encoded(record: Record) -> Sequence[bytes | memoryview]:
    """Return the bytes of a record in pieces, without a copy of tensors that lie on the CPU in one piece."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in record.items()}
    head = strict_json.dumps(
        {name: [str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()}
    ).encode()
    out: list[bytes | memoryview] = [len(head).to_bytes(8, "little") + head]
    at = 8 + len(head)
    for t in tensors.values():
        fill = -at % ALIGNED
        out += [bytes(fill), memoryview(_bytes(t))] if t.numel() else [bytes(fill)]
        at += fill + t.nbytes
    return out


def _bytes(t: torch.Tensor) -> Any:
    """View the numbers of a tensor as bytes; numpy has no bfloat16. (Type checkers do not know that arrays are buffers.)"""
    return t.reshape(-1).view(torch.uint8).numpy()


def decoded(content: bytearray, device: torch.device) -> Record:
    """Return the record, whose tensors on the CPU share the memory of `content`."""
    length = int.from_bytes(content[:8], "little")
    head = strict_json.loads(bytes(content[8 : 8 + length]))
    at = 8 + length
    out = {}
    for name, (kind, shape) in head.items():
        at += -at % ALIGNED
        dtype = getattr(torch, kind)
        t = torch.empty(shape, dtype=dtype)
        if t.numel():
            t = torch.frombuffer(content, dtype=dtype, count=t.numel(), offset=at).view(shape)
        at += t.nbytes
        out[name] = t.to(device)
    return out
