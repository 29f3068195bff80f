"""Tables on narrow terminals: a line is longer than the terminal rather than a name or a number cut off."""

from rich.console import Console, RenderableType
from rich.measure import Measurement


def print_whole(shown: RenderableType, *, highlight: bool = False, narrowest: RenderableType | None = None) -> None:
    """Print on stdout, in lines at least as long as what must not be broken needs.

    Args:
        narrowest: is measured in place of it, where words of it may be broken.
    """
    console = Console(highlight=highlight)
    least = Measurement.get(console, console.options.update(max_width=1000), narrowest or shown).minimum
    if least > console.width:
        console = Console(highlight=highlight, width=least)
    console.print(shown)
