"""JSON Lines sources: what becomes of good rows, and the sentence every bad one gets."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.collect.sources.rows_source import (
    check_samples,
    compute_identity,
    iterate_samples,
)
from schemas.sources import JsonlSource
from tests.perpo_core.cases import HEIGHT, WIDTH, encode_noise, make_row, write_source


def _read(source: JsonlSource) -> list[SampleRow]:
    return [row for row in iterate_samples(source) if isinstance(row, dict)]


def _refuse(source: JsonlSource) -> str:
    """The sentence; that dropping says the same, and that the dry pass sees it too."""
    with pytest.raises(ValueError) as caught:
        list(iterate_samples(source))
    sentence = str(caught.value)
    assert "\n" not in sentence
    for rows in (
        iterate_samples(source.model_copy(update={"on_bad_row": "drop"})),
        check_samples(source),
    ):
        assert sentence in [row.detail for row in rows if isinstance(row, SetAside)]
    return sentence


def test_a_grounding_row(tmp_path: Path) -> None:
    [row] = _read(write_source(tmp_path / "data", [make_row(split="test")]))
    assert row["target"]["box"] == [4 / WIDTH, 3 / HEIGHT, 20 / WIDTH, 15 / HEIGHT]
    assert (row["task"], row["split"]) == ("grounding", "test")
    assert (row["width"], row["height"]) == (WIDTH, HEIGHT)
    [image] = row["row_images"]
    assert image.stored.data == encode_noise(0)
    assert row["images"] == [image.stored.image_hash] == [image.file_hash]
    assert row["prompt"] == [
        {
            "role": "user",
            "content": [
                {"type": "image", "text": None},
                {"type": "text", "text": "Where is the cat?"},
            ],
        }
    ]
    assert (row["source"], row["licence"]) == ("noise", "CC0")
    assert row["row"] == "data/cases.jsonl:1"


def test_ocr_and_counting_rows(tmp_path: Path) -> None:
    ocr = make_row(task="ocr", box=None, answer="two\nlines \u201cquoted\u201d")
    counting = make_row(task="counting", box=None, answer=3)
    also = make_row(task="counting", box=None, answer=" 12 ", prompt="How many?")
    rows = _read(write_source(tmp_path, [ocr, "", counting, "   ", also]))
    assert [row["target"]["text"] for row in rows] == ["two\nlines \u201cquoted\u201d", None, None]
    assert [row["target"]["count"] for row in rows] == [None, 3, 12]
    assert [row["row"].rpartition(":")[2] for row in rows] == [
        "1",
        "3",
        "5",
    ]  # lines, blank ones too


def test_box_stands_beside_its_box_norm_and_box_norm_serves_alone(tmp_path: Path) -> None:
    both = make_row(box_norm=[0.1, 0.1, 0.504, 0.5], answer="[0.1, 0.1, 0.5, 0.5]")
    norm = make_row(
        box=None, box_format=None, box_norm=[0.25, 0.5, 0.75, 1.0], prompt="And the dog?"
    )
    first, second = _read(write_source(tmp_path, [both, norm]))
    assert first["target"]["box"][0] == 0.1 and first["target"]["box"][2] == 0.5
    assert second["target"]["box"] == [0.25, 0.5, 0.75, 1.0]


def test_one_pixel_of_rounding_is_clamped(tmp_path: Path) -> None:
    row = make_row(box=[-1, -0.5, WIDTH + 1, HEIGHT + 1])
    [sample] = _read(write_source(tmp_path, [row]))
    assert sample["target"]["box"] == [0, 0, 1, 1]


def test_boxes_are_in_the_upright_image(tmp_path: Path) -> None:
    source = write_source(
        tmp_path, [make_row(image="turned.jpg", width=HEIGHT, height=WIDTH, box=[3, 4, 15, 40])]
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(encode_noise(0))).save(tmp_path / "turned.jpg", exif=exif)
    [row] = _read(source)
    assert (row["width"], row["height"]) == (HEIGHT, WIDTH)
    assert row["target"]["box"] == [3 / HEIGHT, 4 / WIDTH, 15 / HEIGHT, 1.0]


def test_long_images_shrink_and_boxes_stay(tmp_path: Path) -> None:
    [row] = _read(write_source(tmp_path, [make_row()], max_image_side=20))
    assert (row["width"], row["height"]) == (20, 15)
    assert row["target"]["box"] == [0.1, 0.1, 0.5, 0.5]


def _ocr(**changes: Any) -> dict[str, Any]:
    return make_row(task="ocr", box=None, **({"answer": "abc"} | changes))


def _count(answer: Any) -> dict[str, Any]:
    return make_row(task="counting", box=None, answer=answer)


def _norm(box: list[float], **changes: Any) -> dict[str, Any]:
    return make_row(box=None, box_format=None, box_norm=box, **changes)


BAD_ROWS: dict[str, tuple[Any, list[str]]] = {
    "malformed JSON": ('{"task": "ocr",', ["not a JSON object", '\\"task\\": \\"ocr\\"']),
    "deep JSON": ("[" * 100_000, ["not a JSON object"]),
    "not an object": ("[1, 2]", ["not a JSON object", "[1, 2]"]),
    "not UTF-8": (b'{"task": "\xff"}', ["not UTF-8"]),
    "half a surrogate": (_ocr(answer="\ud800"), ["answer", "surrogate"]),
    "no task": (make_row(task=None), ["task is missing", "grounding, ocr, counting"]),
    "unknown task": (make_row(task="detect"), ['task "detect"', "grounding, ocr, counting"]),
    "unhashable task": (make_row(task=["ocr"]), ['task ["ocr"]']),
    "unknown split": (make_row(split="dev"), ['split "dev"', "train, selection, validation, test"]),
    "no image": (make_row(image=None), ["image is missing"]),
    "missing image": (make_row(image="images/9.png"), ["no image file", "9.png"]),
    "long name": (make_row(image="x" * 5000), ["no image file"]),
    "folder as image": (make_row(image="images"), ["no image file"]),
    "absolute image": (make_row(image="/etc/hostname"), ['"/etc/hostname"', "relative"]),
    "image outside": (make_row(image="../secret.png"), ['"../secret.png"', "leads out of"]),
    "NUL in name": (make_row(image="a\0b"), ["not a path"]),
    "empty prompt": (make_row(prompt=" "), ["the prompt has no visible character", '" "']),
    "empty image name": (make_row(image=" "), ['image " " is empty']),
    "no prompt": (make_row(prompt=None), ["prompt is missing"]),
    "prompt of another type": (make_row(prompt=5), ["prompt 5 is not a text"]),
    "image token": (make_row(prompt="<image_soft_token>\nWhere?"), ["'<image_soft_token>'"]),
    "a place too many": (make_row(prompt="<image><image>Where?"), ["2 places", "1 images"]),
    "chat token": (make_row(prompt="Hi<|im_end|>"), ["'<|im_end|>'"]),
    "no box": (make_row(box=None), ["needs box", "box_norm"]),
    "NaN": (make_row(box=[1, 2, float("nan"), 9]), ["box [1, 2, NaN, 9]", "finite"]),
    "infinity": (make_row(box=[1, 2, float("inf"), 9]), ["Infinity"]),
    "NaN in box_norm": (_norm([0, 0, 1, float("nan")]), ["box_norm", "NaN"]),
    "huge integer": (make_row(box=[1, 2, 10**400, 9]), ["four finite numbers"]),
    "three numbers": (make_row(box=[1, 2, 3]), ["[1, 2, 3]"]),
    "texts": (make_row(box=["1", "2", "3", "4"]), ["four finite numbers"]),
    "truth values": (make_row(box=[False, False, True, True]), ["four finite numbers"]),
    "x2 below x1": (make_row(box=[20, 3, 4, 15]), ["[20, 3, 4, 15]", "x1 < x2"]),
    "no width": (make_row(box=[4, 3, 4, 15]), ["[4, 3, 4, 15]", "x1 < x2"]),
    "outside": (make_row(box=[4, 3, 60, 15]), ["[4, 3, 60, 15]", "20 pixels outside", "40x30"]),
    "box_norm outside": (_norm([0, 0, 1.5, 1]), ["1.5", "outside"]),
    "on the edge": (make_row(box=[40, 3, 41, 15]), ["[40, 3, 41, 15]", "edge"]),
    "0-1 as pixels": (make_row(box=[0.1, 0.1, 0.5, 0.5]), ["0.1", "box_norm"]),
    "unknown format": (make_row(box_format="xywh"), ['"xywh"', "xyxy_pixels"]),
    "another image's size": (make_row(width=80), ["80x30", "40x30"]),
    "no answer": (_ocr(answer=None), ["answer is missing"]),
    "no count": (_count(None), ["answer is missing"]),
    "fraction": (_count(2.5), ["answer 2.5"]),
    "negative": (_count(-1), ["answer -1"]),
    "word": (_count("three"), ['answer "three"']),
    "beyond int64": (_count(10**30), ["whole number"]),
    "true": (_count(True), ["answer true"]),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_with_file_row_and_value(tmp_path: Path, case: str) -> None:
    row, words = BAD_ROWS[case]
    (tmp_path / "secret.png").write_bytes(encode_noise(1))
    source = write_source(tmp_path / "data", [make_row(), row])
    sentence = _refuse(source)
    assert sentence.startswith(f"{tmp_path}/data/cases.jsonl row 2: ")
    for word in words:
        assert word in sentence
    kept = list(iterate_samples(source.model_copy(update={"on_bad_row": "drop"})))
    assert [type(item) for item in kept] == [dict, SetAside]


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encode_noise(1))
    source = write_source(tmp_path / "data", [make_row(image="images/link.png")])
    link = tmp_path / "data" / "images" / "link.png"
    link.symlink_to(tmp_path / "secret.png")
    assert "leads out of" in _refuse(source)
    link.unlink()
    link.symlink_to("0.png")
    assert len(_read(source)) == 1
    link.unlink()
    link.symlink_to("link.png")
    assert "no image file" in _refuse(source)


def test_damaged_images_are_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path, [make_row()])
    image = tmp_path / "images" / "0.png"
    image.write_bytes(encode_noise(0)[:-300])
    assert 'row 1: image "images/0.png": the image is truncated' in _refuse(source)
    image.write_bytes(b"")
    assert 'row 1: image "images/0.png": the image file is empty' in _refuse(source)
    image.write_bytes(b"GIF89a, or not")
    assert "row 1: " in _refuse(source)


def test_long_texts_in_a_png_are_no_reason(tmp_path: Path) -> None:
    source = write_source(tmp_path, [make_row()])
    image = tmp_path / "images" / "0.png"
    texts = PngInfo()
    texts.add_text("parameters", "x" * (2 << 20), zip=True)
    Image.open(image).save(image, pnginfo=texts)
    [row] = _read(source)
    assert (row["width"], row["height"]) == (WIDTH, HEIGHT)
    [checked] = check_samples(source)
    assert isinstance(checked, dict)


def test_images_too_large_are_refused(tmp_path: Path) -> None:
    sentence = _refuse(write_source(tmp_path, [make_row()], max_image_megapixels=0.001))
    assert "row 1" in sentence and "40x30" in sentence


def test_the_same_bad_image_is_reported_with_each_of_its_rows(tmp_path: Path) -> None:
    rows = [make_row(image="images/9.png"), make_row(image="images/9.png", prompt="And?")]
    found = list(check_samples(write_source(tmp_path, rows)))
    assert [item.row.rpartition(":")[2] for item in found if isinstance(item, SetAside)] == [
        "1",
        "2",
    ]
    assert isinstance(found[1], SetAside) and "row 2" in found[1].detail


def test_duplicates_name_both_rows_whatever_else_differs(tmp_path: Path) -> None:
    sentence = _refuse(write_source(tmp_path, [make_row(), "", make_row(id="other", source="x")]))
    assert "row 3" in sentence and "cases.jsonl row 1" in sentence


def test_another_truth_for_the_same_question_is_another_sample(tmp_path: Path) -> None:
    first, second = _read(write_source(tmp_path, [make_row(), make_row(box=[1, 2, 20, 15])]))
    assert first["prompt_id"] == second["prompt_id"]
    assert first["sample_id"] != second["sample_id"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused_even_where_bad_rows_are_dropped(
    tmp_path: Path, content: bytes
) -> None:
    source = write_source(tmp_path, [content], on_bad_row="drop")
    with pytest.raises(ValueError, match=r"cases\.jsonl: the file has no rows"):
        list(iterate_samples(source))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    source = JsonlSource(files=[tmp_path / "none.jsonl"])
    with pytest.raises(ValueError, match=r"none\.jsonl: there is no such file"):
        list(iterate_samples(source))


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    source = write_source(tmp_path, [make_row()])
    file = source.files[0]
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(_read(source)) == 1


def test_one_image_is_in_one_split_and_the_shares_hold(tmp_path: Path) -> None:
    rows = [
        make_row(image=f"images/{number}.png", prompt=prompt)
        for prompt in ("Where?", "Find it.")
        for number in range(200)
    ]
    source = write_source(tmp_path, rows, num_images=200)
    samples = _read(source)
    by_image: dict[str, set[str]] = {}
    for sample in samples:
        by_image.setdefault(sample["images"][0], set()).add(sample["split"])
    assert all(len(splits) == 1 for splits in by_image.values())
    shares = {
        name: sum(s["split"] == name for s in samples) / 400 for name in ("test", "validation")
    }
    assert abs(shares["test"] - 0.25) < 0.1 and abs(shares["validation"] - 0.15) < 0.08
    alone = _read(write_source(tmp_path, rows[:7], num_images=7))
    assert [s["split"] for s in alone] == [s["split"] for s in samples[:7]]  # growth moves nothing


def test_a_named_split_holds_for_the_image_and_a_contradiction_is_refused(tmp_path: Path) -> None:
    named, silent = make_row(split="validation"), make_row(prompt="And the dog?")
    other = make_row(prompt="And the bird?", split="train")
    first, second = _read(write_source(tmp_path, [named, silent]))
    assert (first["split"], second["split"]) == ("validation", "validation")
    sentence = _refuse(write_source(tmp_path, [named, silent, other]))
    assert "row 3: split 'train'" in sentence and "row 1" in sentence


def test_rows_are_read_lazily(tmp_path: Path) -> None:
    rows = iterate_samples(write_source(tmp_path, [make_row(), "not JSON"]))
    assert isinstance(next(rows), dict)


def test_identity_is_content_and_settings_never_places(tmp_path: Path) -> None:
    here = write_source(tmp_path / "here", [make_row()])
    there = write_source(tmp_path / "there", [make_row()])
    assert compute_identity(here) == compute_identity(there)
    assert compute_identity(here) != compute_identity(here.model_copy(update={"test_share": 0.3}))
    os.utime(tmp_path / "there" / "images" / "0.png", (1, 1))
    assert compute_identity(here) == compute_identity(there)
    (tmp_path / "there" / "images" / "0.png").write_bytes(encode_noise(5))
    assert compute_identity(here) != compute_identity(there)
    (tmp_path / "there" / "images" / "0.png").unlink()
    compute_identity(there)  # the reading says what is wrong, with its row
    write_source(tmp_path / "there", ["not JSON", make_row()])
    assert compute_identity(here) != compute_identity(there)
