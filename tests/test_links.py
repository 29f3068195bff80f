"""Claims about the documents' links, lengths and completeness."""

import importlib
import pkgutil
import re
from pathlib import Path

import pages
import pytest

from coreselect import errors, protocols

pytestmark = pytest.mark.skipif(not pages.THERE, reason="the documents are not part of the wheel")
ALL = pages.pages()
PUBLIC = (
    "coreselect",
    "coreselect.selectors",
    "coreselect.objectives",
    "coreselect.losses",
    "coreselect.data",
    "coreselect.io",
)


def named(path: Path) -> str:
    """A page's path from the root."""
    return path.relative_to(pages.ROOT).as_posix()


def target_of(page: Path, link: str) -> Path | None:
    """The file that a link leads to; None where the build makes it."""
    where = (page.parent / link).resolve() if link else page
    inside = where.relative_to(pages.DOCS).as_posix() if where.is_relative_to(pages.DOCS) else ""
    return pages.GENERATED.get(inside, where)


@pytest.mark.parametrize("page", ALL, ids=named)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    """Links between documents and to pictures resolve, anchors too; no link leaves the repository."""
    for link in pages.links(page):
        assert "://" not in link, link
        file, _, anchor = link.partition("#")
        target = target_of(page, file)
        assert target is None or target.exists(), link
        if anchor and target is not None:
            assert anchor in pages.anchors(target), link


@pytest.mark.parametrize("page", [p for p in ALL if p.is_relative_to(pages.DOCS)], ids=named)
def test_every_page_is_in_the_navigation(page: Path) -> None:
    """A page that the menu does not name is not found."""
    assert page.relative_to(pages.DOCS).as_posix() in (pages.ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_reference_documents_every_public_name() -> None:
    """What the public modules export is on a page of the reference; tables of names are not things to document."""
    text = "\n".join(p.read_text(encoding="utf-8") for p in (pages.DOCS / "reference").glob("*.md"))
    documented = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
    short = {name.rpartition(".")[2] for name in documented}
    for module in PUBLIC:
        for name in importlib.import_module(module).__all__:
            tables = name.isupper() and not isinstance(getattr(importlib.import_module(module), name), type)
            inside = "coreselect.errors" in documented and hasattr(errors, name)
            inside |= "coreselect.protocols" in documented and hasattr(protocols, name)
            told = f"`{module}.{name}(" in text
            assert tables or inside or told or name in short, f"{module}.{name}"


def test_every_documented_name_exists() -> None:
    """The reference names nothing that cannot be imported."""
    for page in (pages.DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert pkgutil.resolve_name(name) is not None, name
