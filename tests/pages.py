"""The documents as tests see them: which files there are, their code blocks, headings and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coreselect

ROOT = Path(coreselect.__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
THERE = README.exists() and DOCS.is_dir()  # the wheel has no documents
GENERATED = {  # pages that the site's build adds, and where their text is
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
    "benchmarks.md": ROOT / "benchmarks" / "README.md",
    "reference/command-line.md": None,
}


@dataclass(frozen=True)
class Block:
    """A fenced block: the word behind the fence, its text, and the line of the file on which it begins."""

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """Every page of `docs/`, and the documents beside it."""
    return (
        [README, *sorted(DOCS.rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
        if THERE
        else []
    )


def blocks(path: Path) -> list[Block]:
    """Fenced blocks in order."""
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(m[1], m[2], text[: m.start()].count("\n") + 2) for m in found]


def python(path: Path) -> list[Block]:
    """Blocks of Python."""
    return [b for b in blocks(path) if b.language == "python"]


def commands(path: Path) -> Iterator[str]:
    """Lines of shell blocks, continued lines joined, comments and empty lines left out."""
    for block in blocks(path):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                if bare := re.sub(r"(^|\s)#.*", "", line).strip():
                    yield bare


def prose(path: Path) -> str:
    """The text of a page without its blocks and code spans."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links(path: Path) -> list[str]:
    """Targets of the links and pictures of a page."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(path))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the site makes them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in heads}
