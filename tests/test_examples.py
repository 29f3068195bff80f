"""Claims about `examples/`: each script runs, and says at the end what its page promises."""

import re
import runpy
from pathlib import Path

import pages
import pytest

EXAMPLES = pages.ROOT / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")
SAYS = {  # the library that a script needs, and its last line
    "lightning_digits.py": ("lightning", r"38 steps, best accuracy 0\.(?P<score>\d+)"),
    "accelerate_digits.py": ("accelerate", r"accuracy 0\.(?P<score>\d+)"),
    "transformers_words.py": ("transformers", r"40 steps, accuracy (0|1)\.(?P<score>\d+)"),
    "datasets_digits.py": ("datasets", r"largest weight (?P<score>\d+)\."),
    "sklearn_digits.py": ("sklearn", r"random: accuracy 0\.(?P<score>\d+)"),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("name", sorted(SAYS))
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script runs in an empty folder, leaves nothing there, and prints its result."""
    pytest.importorskip("sklearn", reason="the examples read scanned digits")
    pytest.importorskip(SAYS[name][0], reason=f"the example is about {SAYS[name][0]}")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.fullmatch(rf"{SAYS[name][1]}\d*", last), last
    assert not list(tmp_path.iterdir())


def test_every_example_is_run_and_listed() -> None:
    """The table of `examples/README.md` and the table above name all scripts."""
    there = {path.name for path in EXAMPLES.glob("*.py")}
    listed = set(re.findall(r"`(\w+\.py)`", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert there == set(SAYS) == listed
