"""Collectives that ranks make very often, such as one for each pick, with an end for all if one of them fails or dies.

    round     all ranks give a state and a few numbers, and get those of all
    gathered  a round, then tensors of all ranks
    sent      a tensor of one rank

Messages through the group's store cost too much for each pick. Here a failure travels in the collective itself: a rank that raises
takes part in one more round and gives the state `failed`. The others see it, and read the reason from the store. So no collective
is left half done, and the group can be used again. A rank that has died is looked for while a collective takes long.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.errors import ScheduleError
from coreselect.support import collectives, ranks
from coreselect.support.alive import without_a_word

NUMBERS = 3  # that each rank gives in a round, at most
FINE, FAILED = 0.0, 1.0
LOOK = 0.5  # seconds between two looks whether another rank has failed or ended


class Meeting:
    """The rounds of one piece of work; from now on each `say` of that work is preceded by a round.

    Args:
        work: what the ranks do together; all ranks must make the meeting at the same point of it.
        device: where tensors are; they are carried where the group's backend can send them.
    """

    def __init__(self, work: ranks.Work, device: torch.device) -> None:
        self._work, self._device = work, device
        self._carrier = collectives.carrier(device)
        self._open = True
        work.meet(self)

    def round(self, *numbers: float) -> Tensor:
        """Give numbers to all ranks; return those of all, float64 [W, `NUMBERS`] on the CPU, with zeros in place of missing ones.

        Raises:
            ScheduleError: another rank has failed; its reason is in the message.
        """
        return self._round(FINE, numbers)

    def gathered(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all ranks, in the order of the ranks, for tensors [n_r, …]; all ranks know every n_r."""
        self.round()
        sent = own.detach().to(self._carrier).contiguous()
        most = max(counts)
        if len(sent) < most:
            sent = torch.cat([sent, sent.new_zeros(most - len(sent), *sent.shape[1:])])
        every = [torch.empty_like(sent) for _ in counts]
        self._finish(dist.all_gather(every, sent, async_op=True))
        return torch.cat([e[:n] for e, n in zip(every, counts, strict=True)]).to(own.device)

    def sent(self, tensor: Tensor, owner: int) -> Tensor:
        """Return the tensor of one rank on all of them.

        Args:
            tensor: the owner's; of the others, one of the same shape and type.
        """
        carried = tensor.detach().to(self._carrier, copy=True).contiguous()
        self._finish(dist.broadcast(carried, src=owner, async_op=True))
        return carried.to(tensor.device)

    def leave(self, *, failed: bool) -> None:
        """End the meeting for this rank: together with all, or because it has failed, so that the others learn it."""
        if not self._open:
            return
        try:
            self._round(FAILED if failed else FINE, ())
        except ScheduleError:
            if not failed:
                raise
        finally:
            self._open = False

    def _round(self, state: float, numbers: Sequence[float]) -> Tensor:
        if not self._open:
            raise ScheduleError(
                f"rank {ranks.rank()} has left the others, while every rank had to {self._work.purpose}."
            )
        own = torch.zeros(1 + NUMBERS, dtype=torch.float64)
        own[0] = state
        own[1 : 1 + len(numbers)] = torch.tensor(numbers, dtype=torch.float64)
        carried = own.to(self._carrier)
        every = [torch.empty_like(carried) for _ in range(ranks.world_size())]
        self._finish(dist.all_gather(every, carried, async_op=True))
        said = torch.stack(every).cpu()
        if state == FINE and bool((said[:, 0] == FAILED).any()):
            self._listen()
        return said[:, 1:]

    def _listen(self) -> None:
        """Learn from the store why another rank has failed."""
        self._open = False
        self._work.meet(None)
        self._work.say("a round")  # raises what the other one says
        raise ScheduleError(f"a rank failed and did not say why, while every rank had to {self._work.purpose}.")

    def _finish(self, handle: Any) -> None:
        """Wait for a collective, and look now and then whether it can still come to its end."""
        pause, look = 2e-5, time.monotonic() + LOOK
        try:
            while not handle.is_completed():
                time.sleep(pause)
                pause = min(2 * pause, 2e-3)
                if time.monotonic() >= look:
                    self._look()
                    look = time.monotonic() + LOOK
            handle.wait()
        except RuntimeError as why:
            self._open = False
            self._look()
            raise self._work.silent(collectives.lost(why, self._work.purpose)) from why

    def _look(self) -> None:
        ended = ranks.ended()
        if ended:
            self._open = False
            raise self._work.silent(without_a_word(ended, ranks.world_size(), self._work.purpose))
        if self._work.hears_failure():
            self._listen()
