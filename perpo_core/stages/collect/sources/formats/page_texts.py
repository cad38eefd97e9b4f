"""The text of a page as it stands beside its image: plain, hOCR or PAGE XML.

Lines end with a line end, paragraphs and regions with an empty line. hOCR: the lines of ocr_line
and its like, paragraphs of ocr_par. PAGE XML (any of its years): the regions in the file's reading
order, the TextEquiv of each line, of a region where it has no lines. Neither is asked for words
that a line does not say, and nothing outside of the file is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from perpo_core.perception.truths.row import RowError, show_value

HOCR_LINES = {"ocr_line", "ocrx_line", "ocr_textfloat", "ocr_header", "ocr_caption", "ocr_footer"}
HOCR_BREAKS = {"ocr_par", "ocr_carea", "ocrx_block"}
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr", "area", "base", "col", "source"}


def read_plain(text: str) -> str:
    """The file, without the line end that editors put at its end."""
    return text.replace("\r\n", "\n").rstrip("\n")


def read_hocr(text: str) -> str:
    """Raises RowError where there is no line in it."""
    reader = _HocrReader()
    reader.feed(text)
    if not reader.num_lines:
        raise RowError("no text", "no element of class ocr_line is in it; is it hOCR?")
    return _join(reader.paragraphs)


def read_page(text: str) -> str:
    """Raises RowError where it is no PAGE XML."""
    if re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise RowError("no text", "a document type is declared in it, which PAGE XML has none of")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RowError("no text", f"not XML ({error})") from error
    page = next((each for each in root if _name(each) == "Page"), None)
    if _name(root) != "PcGts" or page is None:
        raise RowError(
            "no text", f"root {show_value(_name(root))} is not PAGE XML's PcGts with Page"
        )
    names = {_name(each) for each in page.iter()}
    if "TextRegion" in names and "TextEquiv" not in names:
        raise RowError("no text", "no region of it has a text (TextEquiv); is it a layout alone?")
    return _join(list(_iterate_regions(page)))


READERS: dict[str, Callable[[str], str]] = {
    ".txt": read_plain,
    ".hocr": read_hocr,
    ".html": read_hocr,
    ".htm": read_hocr,
    ".xml": read_page,
}


def read_text(path: Path) -> str:
    """The text of a page; "" where the page is blank. Raises RowError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return READERS[path.suffix.lower()](text)
    except UnicodeDecodeError as error:
        raise RowError(
            "no text", f"{path.name}: not UTF-8 text ({error}); save it as UTF-8"
        ) from error
    except RowError as error:
        raise RowError(error.reason, f"{path.name}: {error}") from None


class _HocrReader(HTMLParser):
    """Collects the lines of paragraphs."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[list[str]] = [[]]
        self.num_lines = 0
        self._line: list[str] | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._line is not None:
            self._depth += tag not in VOID
            return
        classes = set((dict(attrs).get("class") or "").split())
        if classes & HOCR_BREAKS:
            self.paragraphs.append([])
        if classes & HOCR_LINES:
            self._line, self._depth = [], 1
            self.num_lines += 1

    def handle_endtag(self, tag: str) -> None:
        if self._line is None or tag in VOID:
            return
        self._depth -= 1
        if self._depth == 0:
            self.paragraphs[-1].append(" ".join("".join(self._line).split()))
            self._line = None

    def handle_data(self, data: str) -> None:
        if self._line is not None:
            self._line.append(data)


def _iterate_regions(page: ElementTree.Element) -> Iterator[list[str]]:
    """The lines of each text region, in reading order, those without a place in it at the end."""
    regions = [each for each in page.iter() if _name(each) == "TextRegion"]
    order = _read_order(page)
    last = len(order)
    for region in sorted(regions, key=lambda each: order.get(each.get("id", ""), last)):
        lines = [_find_text(each) for each in region if _name(each) == "TextLine"]
        yield [line for line in lines or [_find_text(region)] if line]


def _read_order(page: ElementTree.Element) -> dict[str, int]:
    """Region id -> its place; groups are nested in the file as they are read."""
    given = [each for each in page if _name(each) == "ReadingOrder"]
    refs = [ref for order in given for ref in _flatten(order)]
    return {ref: place for place, ref in enumerate(refs)}


def _flatten(group: ElementTree.Element) -> Iterator[str]:
    for each in sorted(group, key=_get_index):
        if each.get("regionRef"):
            yield str(each.get("regionRef"))
        yield from _flatten(each)


def _find_text(element: ElementTree.Element) -> str:
    """Of several readings the first, by their index."""
    readings = [each for each in element if _name(each) == "TextEquiv"]
    readings.sort(key=_get_index)
    texts = [each.text or "" for r in readings[:1] for each in r if _name(each) == "Unicode"]
    return texts[0].strip() if texts else ""


def _get_index(element: ElementTree.Element) -> int:
    text = element.get("index", "0")
    if not text.isdecimal():
        raise RowError("no text", f"index {show_value(text)} is no whole number")
    return int(text)


def _name(element: ElementTree.Element) -> str:
    """Without its namespace, which has the year in it."""
    return element.tag.rpartition("}")[2]


def _join(paragraphs: list[list[str]]) -> str:
    texts = ["\n".join(line for line in lines if line) for lines in paragraphs]
    return "\n\n".join(text for text in texts if text)
