"""The model card: what the Hub reads, what people read, and text that tries to break it."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from perpo_core.export.card import build_card
from perpo_core.export.export import load_facts
from perpo_core.export.facts import CardFacts
from perpo_core.export.licence import read_licence
from perpo_core.export.origin import Origin
from perpo_core.export.usage import BOX_FORMAT_WORDS
from perpo_core.perception.boxes import BOX_FORMATS
from perpo_core.report.load import RunArtifacts
from perpo_core.report.markdown import build_table, escape
from schemas.artifact import Counts
from tests.perpo_core.export.exportable import with_config
from tests.perpo_core.report.report_fixture import build_run

HOSTILE = "a|b\n\n# <script>alert(1)</script> [x](javascript:alert(2)) `c` **d** &lt;"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> CardFacts:
    store, run = build_run(tmp_path_factory.mktemp("store"))
    return replace(
        load_facts(store, run, [], adapter=False), origin=Origin("org/tiny", is_on_hub=True)
    )


def load_card(facts: CardFacts, folder: Path) -> Any:
    """As the Hub's own library reads it from a file."""
    (folder / "README.md").write_text(build_card(facts))
    return ModelCard.load(folder / "README.md")


def render(markdown: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(markdown))


def find_rows(markdown: str) -> list[list[str]]:
    """The cells of every table row as a reader sees them."""
    rows = re.findall(r"<tr>(.*?)</tr>", render(markdown), flags=re.DOTALL)
    return [
        [
            html.unescape(re.sub("<.*?>", "", cell))
            for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)
        ]
        for row in rows
    ]


def change_train(facts: CardFacts, **values: object) -> CardFacts:
    return replace(facts, run=with_config(facts.run, "train", **values))


def test_the_hub_reads_base_tags_and_results(facts, tmp_path) -> None:
    data = load_card(facts, tmp_path).data
    written = data.to_dict()
    assert written["base_model"] == "org/tiny"
    assert written["library_name"] == "transformers"
    assert written["pipeline_tag"] == "image-text-to-text"
    assert {"perpo", "preference-optimization", "lora"} <= set(data.tags)
    assert data.license is None
    measured = {(r.task_name, r.metric_type): r.metric_value for r in data.eval_results}
    evaluation = facts.artifacts.evaluation
    assert measured["grounding", "acc_at_50"] == pytest.approx(
        evaluation.metrics["grounding"]["acc_at_50"].trained, abs=1e-6
    )
    assert len(measured) == sum(len(metrics) for metrics in evaluation.metrics.values())


def test_an_adapter_is_one_for_the_hub(facts, tmp_path) -> None:
    card = load_card(replace(facts, is_adapter=True), tmp_path)
    assert card.data.to_dict()["library_name"] == "peft"
    assert card.data.base_model_relation == "adapter"
    assert "--enable-lora --max-lora-rank 128 --lora-modules perpo=." in card.text
    assert "PeftModel.from_pretrained(model, folder)" in card.text


def test_every_metric_stands_with_its_interval_and_n(facts) -> None:
    rows = {(row[0], row[1]): row for row in find_rows(build_card(facts))}
    value = facts.artifacts.evaluation.metrics["ocr"]["edit_distance"]
    row = rows["OCR", "edit distance (lower is better)"]
    assert row[2:4] == [f"{value.base:.3f}", f"{value.trained:.3f}"]
    assert row[6] == str(value.n)
    assert " to " in row[5]
    assert ("grounding", "accuracy at IoU 0.5") in rows


def test_counts_settings_versions_and_digests_are_there(facts) -> None:
    card = build_card(facts)
    rows = {row[0]: row[1:] for row in find_rows(card)}
    counts = facts.artifacts.preferences.counts
    assert rows["training samples with a list"][:2] == [str(counts.num_in), str(counts.num_kept)]
    assert all(reason in rows["training samples with a list"][2] for reason in counts.dropped)
    assert rows["train.beta"] == ["0.1"]
    assert rows["train.projector_learning_rate"] == ["none"]
    assert rows["step chosen"] == ["75"]
    assert rows["preferences"] == [facts.artifacts.preferences.digest]
    assert rows["numpy"]
    assert "arxiv.org/abs/2502.04371" in card


def test_changed_training_settings_appear_and_lora_ones_only_with_lora(facts) -> None:
    changed = change_train(facts, nll_weight=0.5, adapter="full", threads=7)
    names = {row[0] for row in find_rows(build_card(changed))}
    assert "train.nll_weight" in names
    assert "train.lora_rank" in {row[0] for row in find_rows(build_card(facts))}
    assert not {"train.lora_rank", "train.threads"} & names


def test_no_folder_of_this_machine_is_named(facts, tmp_path) -> None:
    changed = change_train(
        facts, objective="mrpo", extra_references=["/home/someone/first", "org/second"]
    )
    damaged = RunArtifacts(
        {"train": facts.checkpoint}, {"evaluate": "Not shown: /home/someone/store is damaged."}
    )
    for card in (build_card(changed), build_card(replace(facts, artifacts=damaged))):
        assert "/home/someone" not in card
        assert str(facts.run.config.store) not in card
    assert "first, second" in build_card(changed)


def test_a_run_without_evaluation_says_so(facts, tmp_path) -> None:
    bare = replace(facts, artifacts=RunArtifacts({"train": facts.checkpoint}, {}))
    card = load_card(bare, tmp_path)
    assert "nothing is known about what training changed" in card.text
    assert card.data.eval_results is None


def test_hostile_names_break_nothing(facts, tmp_path) -> None:
    counts = Counts(num_in=2, num_kept=1, dropped={HOSTILE: 1})
    samples = facts.artifacts.samples.model_copy(update={"counts": counts})
    artifacts = RunArtifacts({**facts.artifacts.by_stage, "collect": samples})
    hostile = replace(
        facts, artifacts=artifacts, origin=Origin(HOSTILE), licence={"license": HOSTILE}
    )
    for changed in (hostile, replace(hostile, is_adapter=True)):
        card = load_card(changed, tmp_path)
        assert card.data.base_model == card.data.license == HOSTILE
        shown, expected = render(card.text), render(load_card(facts, tmp_path).text)
        assert "<script>" not in shown and 'href="javascript' not in shown
        assert shown.count("<h2>") == expected.count("<h2>")
        row = next(row for row in find_rows(card.text) if row[0] == "samples" and len(row) == 4
                   and row[1] == "2")  # fmt: skip
        assert row[2] == "1"


@example("&lt; &amp;lt;")
@given(st.text() | st.text("&lt;`*_[]()<>|~$:@\\!#ab"))
def test_escaped_text_reads_as_it_stands_in_one_cell(text) -> None:
    [header, row] = find_rows(build_table(["a", "b"], [[f"x{escape(text)}x", "2"]]))
    assert header == ["a", "b"]
    assert row == [f"x{' '.join(text.split())}x".replace("\0", "\ufffd"), "2"]


def test_the_start_of_a_later_round_is_no_base_of_its_adapter(facts) -> None:
    later = replace(facts, origin=Origin("org/tiny", earlier_runs=("first-run",)), is_adapter=True)
    card = build_card(later)
    assert 'start, folder = "START_POLICY"' in card
    assert "the result of 1 earlier run (`first-run`)" in card


def test_the_adapter_of_several_rounds_goes_onto_where_they_began(facts) -> None:
    """Unless rounds were merged in between: then onto weights that only this store has."""
    origin = Origin("org/tiny", earlier_runs=("first-run",), digest="a" * 64)
    rounds = replace(facts, origin=origin, is_adapter=True, base_digest="a" * 64, joined_rank=96)
    card = build_card(rounds)
    assert 'start, folder = "org/tiny"' in card
    assert "--max-lora-rank 128" in card
    assert 'start, folder = "START_POLICY"' in build_card(replace(rounds, base_digest="b" * 64))


def test_an_adapter_with_a_trained_projector_is_not_for_vllm(facts) -> None:
    card = build_card(replace(change_train(facts, projector_learning_rate=5e-6), is_adapter=True))
    assert "serve the merged model instead" in card
    assert "--enable-lora" not in card


def test_every_box_format_has_its_words() -> None:
    assert BOX_FORMAT_WORDS.keys() == BOX_FORMATS.keys()


def test_a_card_without_boxes_speaks_of_none(facts) -> None:
    samples = facts.artifacts.samples.model_copy(update={"per_split": {"ocr/train": 3}})
    only_ocr = replace(facts, artifacts=RunArtifacts({"collect": samples}))
    assert "Boxes are written" not in build_card(only_ocr)
    assert "Boxes are written `[x1, y1, x2, y2]`, as shares (0 to 1)" in build_card(facts)


@pytest.mark.parametrize(
    ("readme", "stated"),
    [
        ("---\nlicense: apache-2.0\n---\n# Base", {"license": "apache-2.0"}),
        (
            "---\nlicense: other\nlicense_name: x\nlicense_link: https://a.b/c\n---\n",
            {"license": "other", "license_name": "x", "license_link": "https://a.b/c"},
        ),
        ("---\nlicense: other\nlicense_link: LICENSE\n---\n", {"license": "other"}),
        ("---\nlicense: [mit]\n---\n", {}),
        ("---\n- a list\n---\n", {}),
        ("---\n: : [\n---\n", {}),
        ("---\n1: mit\n---\n", {}),
        ("---\nlicence_link: https://a.b\n---\n", {}),
        ("# No front matter\nlicense: mit", {}),
    ],
)  # fmt: skip
def test_a_licence_is_copied_only_where_it_is_stated(readme, stated) -> None:
    assert read_licence(readme) == stated


def test_the_bases_licence_goes_into_the_card(facts, tmp_path) -> None:
    card = load_card(replace(facts, licence={"license": "apache-2.0"}), tmp_path)
    assert card.data.license == "apache-2.0"
    assert "As the base model's card states: apache-2.0" in card.text
    assert "fills in `license`" in load_card(facts, tmp_path).text
