"""Tables: TEDS, 1 - the edit distance of two trees (Zhong et al., ECCV 2020, arXiv 1911.10683).

1 - distance / max(nodes), floored at 0. The nodes are sections, rows and cells. Deleting or
inserting one costs 1; cells of other spans are not alike; others cost the edit distance of what
they say over the longer length, a tag inside a cell counting as one character. Nodes are counted as
PubTabNet's metric.py counts them: all elements below the table, tags inside cells included.

How HTML and Markdown are read, and made alike: perpo_core.perception.tables.parse. Of HTML that has
sections and no th, as PubTabNet's, the values are those of metric.py.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.edit_similarity import normalize_text
from perpo_core.perception.truths.row import show_value
from schemas.base import Section


class TedsOptions(Section):
    """Of the rewards teds and teds_structure."""

    sections: Literal["compared", "ignored"] = "compared"
    """Whether thead, tbody and tfoot count. A Markdown table has a header always: where truths are
    HTML without one, ignore them."""


def compute_teds(text: str, target: Target, reading: Reading, options: TedsOptions) -> RewardResult:
    """TEDS in [0, 1]; an answer without exactly one table, or with a huge one, is an error."""
    return compare_tables(text, target, reading, options, with_contents=True)


def compare_tables(
    text: str, target: Target, reading: Reading, options: TedsOptions, with_contents: bool
) -> RewardResult:
    """TEDS, of the structure alone where not `with_contents`; two tables without a cell have 1."""
    from perpo_core.perception.tables import compute_table_distance, parse_table  # imports numpy

    normalize = partial(normalize_text, collapse_whitespace=reading.collapse_whitespace)
    keep = options.sections == "compared"
    truth, problem = parse_table(target["text"] or "", normalize, keep)
    if truth is None:
        why = str(problem).replace(" in the answer", "")
        return RewardResult(None, error=f"the truth {show_value(target['text'])}: {why}")
    stated, problem = find_answer(text)
    table, problem = parse_table(stated, normalize, keep) if stated is not None else (None, problem)
    if table is None:
        return RewardResult(None, error=problem)
    distance = compute_table_distance(table, truth, with_contents)
    num_nodes = max(table.num_elements, truth.num_elements)
    return RewardResult(max(0.0, 1 - distance / num_nodes) if num_nodes else 1.0, parsed=stated)


TEDS = Reward("teds", compute_teds, options=TedsOptions)
