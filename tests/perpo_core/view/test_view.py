"""What the pages show: every truth, turn, image and rank, and foreign text as text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpo_core.report.pictures import BIDI_CONTROL, CONTROL
from perpo_core.store.keys import compute_hash
from perpo_core.store.store import Store
from perpo_core.view import (
    TABS,
    Absent,
    Query,
    QueryError,
    RunView,
    TabName,
    parse_query,
    render_sample,
    render_tab,
)
from perpo_core.view.showing import describe_truths
from schemas.run import RunRecord
from tests.perpo_core.report.html_page import Page
from tests.perpo_core.view.rows import SCRIPT, build_image, build_store, encode_picture

RESOURCES = {"src", "srcset", "href", "xlink:href", "action", "data", "poster"}
Built = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def view(built: Built) -> RunView:
    return RunView(*built)


def name_sample(name: str) -> str:
    return compute_hash(["sample", name])


def render_all(view: RunView) -> list[str]:
    names = ("hostile", "two-images", "many-boxes", "accepted", "no-list", "held-1", "held-2")
    tabs = [render_tab(view, tab, Query()) for tab in TABS]
    return tabs + [render_sample(view, name_sample(name)) for name in names]


def test_foreign_text_is_text_on_every_page(view: RunView) -> None:
    for html in render_all(view):
        page = Page(html)
        assert {attributes.get("src") for attributes in page.find("script")} <= {
            "view.js", "../view.js",
        }  # fmt: skip
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                assert not name.startswith("on"), f"<{tag} {name}>"
                assert name != "style", f"<{tag} {name}>"
                if name in RESOURCES:
                    assert value and not value.startswith(("//", "http", "javascript", "/"))
        assert not BIDI_CONTROL.search(html) and not CONTROL.search(html.replace("\r", ""))
    assert SCRIPT in Page(render_sample(view, name_sample("hostile"))).text


def test_hostile_words_of_a_search_come_back_as_text(view: RunView) -> None:
    html = render_tab(view, "samples", parse_query({"q": SCRIPT}))
    assert "<script>alert" not in html and "onmouseover='" not in html
    [field] = [found for found in Page(html).find("input") if found.get("name") == "q"]
    assert field["value"] == SCRIPT
    assert name_sample("hostile")[:12] in html


def test_all_ranks_stand_side_by_side_with_their_boxes(view: RunView) -> None:
    page = Page(render_tab(view, "lists", Query()))
    assert len(page.find("article", "lists")) == 4
    assert len(page.find("li", "rank")) == 4 * 3
    assert len(page.find("rect", "best")) == 2 * 2  # halo and box, of two lists
    assert len(page.find("rect", "worst")) == 2 * 2
    # In the question's picture and beside every answer: two accepted boxes, and three boxes of one.
    assert len(page.find("rect", "truth")) == 2 * (2 + 3) * (1 + 3)
    assert "gap" in page.text and "0.600" in page.text
    assert "iou" in page.text and "format" in page.text


def test_several_images_and_turns_and_accepted_truths_are_all_shown(view: RunView) -> None:
    page = Page(render_sample(view, name_sample("two-images")))
    assert len(page.find("figure")) == 2
    for words in ("Answer with a box.", "What is in both?", "A red square.",
                  "Where is it in the second?", "system", "assistant", "image 2", "or",
                  "[0.100, 0.200, 0.300, 0.600]", "[0.550, 0.200, 0.750, 0.600]"):  # fmt: skip
        assert words in page.text
    hashes = [found["href"] for found in page.find("image")]
    assert hashes[1] == hashes[2] != hashes[0], "answers are drawn over the image that is meant"
    page = Page(render_sample(view, name_sample("accepted")))
    assert "VALVE" in page.text and "VALVES" in page.text
    assert "3 boxes" in Page(render_sample(view, name_sample("many-boxes"))).text


def test_a_sample_says_what_became_of_each_answer(view: RunView) -> None:
    text = Page(render_sample(view, name_sample("two-images"))).text
    assert "unreadable: no box in <script>" in text
    assert "in no list: no reward: no box" in text
    text = Page(render_sample(view, name_sample("no-list"))).text
    assert "materialize: all equal: all 1" in text
    assert "rows.jsonl, row no-list" in text and "CC0-1.0" in text
    text = Page(render_sample(view, name_sample("held-1"))).text
    assert "trained, sampled 2" in text and "base" in text


def test_dropped_rows_lead_to_their_samples(view: RunView) -> None:
    page = Page(render_tab(view, "dropped", Query()))
    assert {f"sample/{name_sample(name)}" for name in ("no-list", "hostile")} <= {
        found.get("href") for found in page.find("a", "open")
    }
    assert "rows.jsonl:7" in page.text and "bad box" in page.text


@pytest.mark.parametrize(
    ("tab", "given", "num"),
    [
        ("lists", {}, 4), ("lists", {"task": "ocr"}, 2), ("lists", {"task": "none such"}, 0),
        ("lists", {"error": "any"}, 2), ("lists", {"error": "none"}, 2),
        ("lists", {"least": "0.6"}, 4), ("lists", {"least": "0.61"}, 0),
        ("lists", {"most": "0.5"}, 0),
        ("lists", {"q": "every SQUARE"}, 1), ("lists", {"q": "ALVE"}, 1), ("lists", {"q": "zz"}, 0),
        ("samples", {}, 7), ("samples", {"split": "test"}, 1),
        ("samples", {"task": "grounding", "split": "train"}, 2), ("samples", {"q": "moon"}, 2),
        ("dropped", {}, 6), ("dropped", {"reason": "no reward"}, 4),
        ("dropped", {"stage": "collect"}, 1),
        ("dropped", {"task": "counting"}, 1), ("dropped", {"q": "how many"}, 1),
        ("predictions", {}, 2), ("predictions", {"change": "better"}, 2),
        ("predictions", {"change": "worse"}, 0), ("predictions", {"change": "text"}, 2),
        ("predictions", {"least": "0.4", "task": "ocr"}, 1), ("predictions", {"error": "any"}, 1),
        ("predictions", {"error": "none"}, 1), ("predictions", {"q": "luna"}, 1),
        ("predictions", {"split": "validation"}, 1),
    ],
)  # fmt: skip
def test_filters_and_words_choose_rows(
    view: RunView, tab: TabName, given: dict[str, str], num: int
) -> None:
    page = Page(render_tab(view, tab, parse_query(given)))
    assert len(page.find("tr" if tab == "dropped" else "article", "item")) == num


@pytest.mark.parametrize(
    "given",
    [{"least": "wide"}, {"least": "nan"}, {"page": "0"}, {"page": "1e9"}, {"start": "-1"},
     {"q": "x" * 201}, {"order": "sideways"}, {"error": "perhaps"}, {"page": "9" * 30},
     {"path": "../../etc/passwd"}],
)  # fmt: skip
def test_an_address_that_no_page_has_is_one_sentence(given: dict[str, str]) -> None:
    with pytest.raises(QueryError, match="remove it from the address") as refused:
        parse_query(given)
    assert "\n" not in str(refused.value)


def test_what_is_gone_is_said_where_it_would_be(tmp_path: Path) -> None:
    store, run = build_store(tmp_path)
    for path in (tmp_path / "preferences").rglob("part-*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    view = RunView(store, run)
    with pytest.raises(Absent, match="is damaged"):
        render_tab(view, "lists", Query())
    assert "is damaged" in render_sample(view, name_sample("two-images"))
    view = RunView(store, run.model_copy(update={"stages": {"collect": run.stages["collect"]}}))
    assert "Where is the moon?" in render_tab(view, "samples", Query())
    for name in ("lists", "predictions"):
        with pytest.raises(Absent, match="The run ended before"):
            render_tab(view, name, Query())
    with pytest.raises(Absent, match="There is no sample"):
        render_sample(view, "f" * 64)


def test_files_of_another_version_are_named_and_no_page_breaks(tmp_path: Path) -> None:
    store, run = build_store(tmp_path)
    view = RunView(store, run)
    [path] = view.files.open("materialize", "part-").values()
    with pytest.raises(Absent, match=f"{path} has no column pairs; another version of perpo wrote"):
        view.files.open("materialize", "part-", ("task", "pairs.list.element"))


def test_images_of_the_run_alone_are_read_and_only_as_what_they_are(tmp_path: Path) -> None:
    page = b"<html><script>alert(1)</script></html>"
    store, run = build_store(tmp_path, extra_images=[page])
    view = RunView(store, run)
    data, media_type = view.read_image(build_image(encode_picture(0)).image_hash)
    assert (data, media_type) == (encode_picture(0), "image/png")
    for other in (build_image(page).image_hash, "f" * 64, "", "../../artifact.json", "é", "\0"):
        with pytest.raises(Absent):
            view.read_image(other)


def test_an_image_that_was_damaged_in_its_pack_is_not_shown(tmp_path: Path) -> None:
    store, run = build_store(tmp_path)
    picture = encode_picture(0)
    [pack] = (tmp_path / "samples").rglob("pack-*.parquet")
    changed = picture[:-20] + bytes(20)
    pack.write_bytes(pack.read_bytes().replace(picture, changed))
    view = RunView(store, run)
    assert view.read_image(build_image(encode_picture(1)).image_hash)[0] == encode_picture(1)
    with pytest.raises(Absent, match="or it is damaged"):
        view.read_image(build_image(picture).image_hash)


def test_truths_of_any_form() -> None:
    assert describe_truths({"text": "", "box": None, "count": None}) == ["(empty)"]
    assert describe_truths({"count": 0}) == ["0"] and describe_truths({}) == []
    assert describe_truths({"boxes": []}) == ["0 boxes"]
    people = [{"text": text, "box": None, "count": None} for text in ("net", "a net", "net")]
    assert describe_truths({"text": "net", "others": people}) == ["net (\u00d73)", "a net"]
    many = [{"text": str(n), "box": None, "count": None} for n in range(100)]
    assert describe_truths({"others": many})[-1] == "76 more"
