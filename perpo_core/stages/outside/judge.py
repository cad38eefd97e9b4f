"""A model behind an OpenAI-compatible server as a judge, each of its replies kept in the store.

What it is told is the instruction; what it is asked is the question with its images, the truth, and
one answer or two. A reply is kept by the content of all that, so that a repetition asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from perpo_core.perception.judging import Item, read_instruction
from perpo_core.perception.rewards import RewardResult
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.outside.asking import Asking
from perpo_core.stages.outside.order import Comparison, Pair, choose_pairs, compute_wins
from perpo_core.stages.outside.questions import Question, ask_better, ask_score
from perpo_core.stages.outside.replies import Replies
from perpo_core.stages.outside.server import Server
from perpo_core.stages.outside.verdicts import read_better, read_score
from perpo_core.store.store import Store


class ServerJudge:
    """Asks a judge of answers. Raises ValueError where its instruction cannot be read."""

    def __init__(self, options: JudgeOptions, store: Store, log: Callable[[str], None]) -> None:
        self._options = options
        self._instruction = read_instruction(options.instruction).decode()
        server = Server(options, str(store.place))
        self._asking = Asking(server, Replies(store), f"judge {options.model}", log)

    def compute_many(self, items: Sequence[Item]) -> list[RewardResult]:
        """A result an item; with mode = "order" all answers to a sample are to be among them.

        Raises ValueError where nobody is at the address, or it lets nobody in.
        """
        if self._options.mode == "order":
            return self._order(items)
        asked = [ask_score(item, self._instruction, self._options) for item in items]
        replies = self._asking.ask(asked)
        return [read_score(replies[each.digest], self._options) for each in asked]

    def _order(self, items: Sequence[Item]) -> list[RewardResult]:
        by_sample: dict[str, dict[str, Item]] = {}
        for item in items:
            by_sample.setdefault(_name(item), {}).setdefault(item.text, item)
        asked = {name: list(self._compare(by_text)) for name, by_text in by_sample.items()}
        replies = self._asking.ask([question for found in asked.values() for _, question in found])
        results = {}
        for name, found in asked.items():
            comparisons = [
                Comparison(pair, read_better(replies[question.digest])) for pair, question in found
            ]
            for text in by_sample[name]:
                results[name, text] = compute_wins(text, comparisons)
        return [results[_name(item), item.text] for item in items]

    def _compare(self, by_text: Mapping[str, Item]) -> Iterator[tuple[Pair, Question]]:
        """Pairs of the answers to a sample, each both ways round."""
        for one, other in choose_pairs(list(by_text), self._options.comparisons):
            for pair in ((one, other), (other, one)):
                item = by_text[pair[0]]
                yield pair, ask_better(item, pair, self._instruction, self._options)


def _name(item: Item) -> str:
    """The id of its sample."""
    assert item.row is not None, "who builds items for an outside gives them their rows"
    sample_id: str = item.row.columns["sample_id"]
    return sample_id
