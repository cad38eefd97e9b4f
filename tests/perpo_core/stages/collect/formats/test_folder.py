"""Page images with their text beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.sources import FolderSource
from tests.perpo_core.records import collect, convert, count_reasons, write_noise

HOCR = """<?xml version="1.0"?>
<!DOCTYPE html><html><head><meta charset="utf-8"><title>Not the page</title></head><body>
<div class='ocr_page'><div class='ocr_carea'><p class='ocr_par'>
<span class='ocr_line' title="bbox 1 2 3 4"><span class='ocrx_word'>A</span>
 <span class='ocrx_word'><strong>first</strong></span>
 <span class='ocrx_word'>line&nbsp;&amp;</span></span>
<span class='ocr_line'><span class='ocrx_word'>another<br></span></span></p>
<p class='ocr_par'><span class='ocr_header'><span class='ocrx_word'>Second</span></span></p>
</div></div></body></html>"""
PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="page.png" imageWidth="40" imageHeight="30">
<ReadingOrder><OrderedGroup id="g"><RegionRefIndexed index="1" regionRef="r1"/>
<RegionRefIndexed index="0" regionRef="r2"/></OrderedGroup></ReadingOrder>
<TextRegion id="r1"><TextLine><Word><TextEquiv><Unicode>not</Unicode></TextEquiv></Word>
<TextEquiv index="1"><Unicode>guess</Unicode></TextEquiv>
<TextEquiv index="0"><Unicode>one line</Unicode></TextEquiv></TextLine>
<TextLine><TextEquiv><Unicode>next</Unicode></TextEquiv></TextLine>
<TextEquiv><Unicode>all of it again</Unicode></TextEquiv></TextRegion>
<TextRegion id="r2"><TextEquiv><Unicode>Title</Unicode></TextEquiv></TextRegion>
</Page></PcGts>"""


def build(folder: Path, **texts: str) -> FolderSource:
    """Images a.png, b.png, ... and the files beside them, "__" for a dot in their names."""
    write_noise(folder, *(f"{name.partition('__')[0]}.png" for name in texts))
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return FolderSource(files=[folder])


def test_each_kind_of_text_is_read(tmp_path: Path) -> None:
    texts = {"a__txt": "One\r\nTwo\n\n", "b__gt__txt": "Three", "c__hocr": HOCR, "d__xml": PAGE}
    source = build(tmp_path / "pages", **texts, e__txt="")
    assert [row["answer"] for row in convert(source)] == [
        "One\nTwo", "Three", "A first line &\nanother\n\nSecond", "Title\n\none line\nnext", "",
    ]  # fmt: skip
    assert len(collect(source)) == 5


def test_what_does_not_belong_together_is_counted(tmp_path: Path) -> None:
    source = build(tmp_path / "pages", a__txt="One", a__hocr=HOCR, b__txt="Two")
    write_noise(tmp_path / "pages", "alone.jpg")
    (tmp_path / "pages" / "gone.txt").write_text("left")
    assert [row["answer"] for row in convert(source)] == ["Two"]
    assert count_reasons(source) == {
        "two truths": 1, "image without text": 1, "text without image": 1,
    }  # fmt: skip


def test_folders_below_may_say_the_split(tmp_path: Path) -> None:
    build(tmp_path / "pages" / "train", a__txt="One")
    build(tmp_path / "pages" / "test", b__txt="Two", c__txt="Three")
    source = FolderSource(files=[tmp_path / "pages"], splits={"train/*": "train", "test/*": "test"})
    assert [row["split"] for row in convert(source)] == ["test", "test", "train"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a__xml", "<alto><Layout/></alto>", 'root "alto" is not PAGE XML'),
        ("a__xml", "<PcGts><Page></PcGts>", "not XML"),
        ("a__xml", '<!DOCTYPE x [<!ENTITY a "b">]><PcGts/>', "a document type is declared"),
        ("a__hocr", "<html><p>plain</p></html>", "no element of class ocr_line"),
    ],
)
def test_a_text_that_is_none(name: str, text: str, said: str, tmp_path: Path) -> None:
    source = build(tmp_path / "pages", **{name: text})
    with pytest.raises(ValueError, match=r"pages a\.png: a\.") as caught:
        collect(source)
    assert said in str(caught.value)
