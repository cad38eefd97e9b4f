"""Reading the one table of a text, HTML or Markdown, into a tree.

What two writings of one table differ in is made alike: th is a cell as td is; rows that stand in no
section belong to a tbody, as HTML has it; first rows of nothing but th, in no section, to a thead.
A Markdown table is what markdown-it makes of it, a thead and a tbody. Broken HTML is mended by
lxml, so that a table that was cut off counts as far as it goes.

Left out: what styles say, and that a caption or a header has words.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import takewhile
from typing import Any

from perpo_core.perception.tables.tree import MAX_NODES, Table

FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
HTML_TABLE = re.compile(r"<table[\s/>]", re.IGNORECASE)
SPAN = re.compile(r"\s*0*([1-9][0-9]{0,2})")
SECTIONS = ("thead", "tbody", "tfoot")
PRIVATE, NUM_PRIVATE = 0xF0000, 0xFFFE  # Unicode's private plane 15: one character for each tag


def parse_table(
    text: str, normalize: Callable[[str], str], keep_sections: bool = True
) -> tuple[Table | None, str | None]:
    """The table: (table, None), or (None, why there is none).

    `normalize` is what a cell's text goes through before it is compared. Without `keep_sections`,
    thead, tbody and tfoot are left out and their rows belong to the table itself.
    """
    html = FENCE.sub("", text)
    if HTML_TABLE.search(html) is None:
        html = _build_renderer().render(html)
    tables = _find_tables(html)
    if len(tables) != 1:
        return None, f"{len(tables) or 'no'} tables in the answer where exactly one was expected"
    builder = Builder(normalize, keep_sections)
    builder.add(_arrange(tables[0]))
    if len(builder.labels) > MAX_NODES:
        return None, f"a table of {len(builder.labels)} nodes, and at most {MAX_NODES} are compared"
    return builder.build(), None


@cache
def _build_renderer() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _find_tables(text: str) -> list[Any]:
    """Those that lie in no other."""
    from lxml import html

    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    body = f"<html><body>{text}</body></html>".encode("utf-8", "replace")
    root = html.document_fromstring(body, parser=parser)
    return [t for t in root.iter("table") if next(t.iterancestors("table"), None) is None]


def _arrange(table: Any) -> Any:
    """The table with every row in a section."""
    rows = table.findall("tr")
    headers = [] if table.find("thead") is not None else list(takewhile(_is_header, rows))
    section = None
    for row in rows:
        tag = "thead" if row in headers else "tbody"
        if section is None or section.tag != tag or row.getprevious() is not section:
            section = row.makeelement(tag)
            row.addprevious(section)
        section.append(row)
    return table


def _is_header(row: Any) -> bool:
    return len(row) > 0 and all(cell.tag == "th" for cell in row)


class Builder:
    """The nodes of a table as they are met, children before their parent."""

    def __init__(self, normalize: Callable[[str], str], keep_sections: bool) -> None:
        self.normalize, self.keep_sections = normalize, keep_sections
        self.labels: list[str] = []
        self.contents: list[str] = []
        self.lefts: list[int] = []
        self.num_elements = -1  # the table is none below itself

    def add(self, element: Any) -> None:
        """An element with all in it; nothing in a cell is a node."""
        left, is_cell = len(self.labels), element.tag in ("td", "th")
        if not is_cell:
            for child in element:
                self.add(child)
        if element.tag in SECTIONS and not self.keep_sections:
            return
        inside = sum(1 for _ in element.iterdescendants()) if is_cell else 0
        self.num_elements += 1 + inside
        self.labels.append(_label(element) if is_cell else str(element.tag))
        self.contents.append(self.normalize("".join(_write(element))) if is_cell else "")
        self.lefts.append(left)

    def build(self) -> Table:
        """All that was added."""
        nodes = tuple(self.labels), tuple(self.contents), tuple(self.lefts)
        return Table(*nodes, num_elements=self.num_elements)


def _label(cell: Any) -> str:
    spans = (SPAN.match(cell.get(name, "1")) for name in ("colspan", "rowspan"))
    return " ".join(["td", *(span[1] if span else "1" for span in spans)])


def _write(element: Any) -> Iterator[str]:
    """The text in an element, tags as one character each."""
    yield element.text or ""
    for child in element:
        yield _as_character(f"<{child.tag}>")
        yield from _write(child)
        yield _as_character(f"</{child.tag}>")
        yield child.tail or ""


def _as_character(tag: str) -> str:
    return chr(PRIVATE + zlib.crc32(tag.encode()) % NUM_PRIVATE)
