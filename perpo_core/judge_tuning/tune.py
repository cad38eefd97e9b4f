"""A whole tuning: documents, the search, the check on other documents, the report."""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.judge_tuning.agreement import compare_agreement, compute_known
from perpo_core.judge_tuning.comparing import compare, require_replied
from perpo_core.judge_tuning.documents import Document, Documents, load_documents
from perpo_core.judge_tuning.fairness import Choice, Fairness, compute_fairness
from perpo_core.judge_tuning.paraphrases import (
    Paraphrases,
    ask_paraphrase,
    find_fixed,
    read_paraphrases,
)
from perpo_core.judge_tuning.report import build_report
from perpo_core.judge_tuning.search import search
from perpo_core.judge_tuning.servers import open_servers
from perpo_core.perception.judging import read_instruction
from perpo_core.perception.rewards.outside import JudgeOptions
from perpo_core.stages.stage import StageContext
from schemas.base import TaskName
from schemas.judge_tuning import JudgeTuning, JudgeTuningReport


def tune_judge(
    context: StageContext,
    task: TaskName,
    judge: JudgeOptions,
    writer: JudgeOptions,
    settings: JudgeTuning,
) -> JudgeTuningReport:
    """Look for a fairer instruction; nothing but replies is written.

    Raises ValueError where there are no answers to compare, a question has no reply, the judge
    decides nothing, or a server is not there or refuses.
    """
    first = read_instruction(judge.instruction).decode()
    fixed = find_fixed(first, settings.keep)
    documents = load_documents(context, task, settings, judge.comparisons)
    context.log(describe_work(documents, settings))
    asked = Asked(context, judge, writer, settings, fixed, documents)
    rounds = search(first, settings, asked.measure, asked.paraphrase, context.log)
    before, after = asked.check(first), asked.check(rounds[-1].best.instruction)
    known = compute_known(context.config, documents.check)
    agreement = compare_agreement(documents.check, before, after, known, settings.seed)
    return build_report(
        context.config, task, (judge, writer), settings, documents, fixed, rounds,
        (compute_fairness(before), compute_fairness(after)), agreement,
    )  # fmt: skip


class Asked:
    """What the search wants to know, asked of judge and writer."""

    def __init__(
        self,
        context: StageContext,
        judge: JudgeOptions,
        writer: JudgeOptions,
        settings: JudgeTuning,
        fixed: Sequence[str],
        documents: Documents,
    ) -> None:
        self._judge, self._writer, self._log = judge, writer, context.log
        self._settings, self._fixed, self._documents = settings, fixed, documents
        self._of_judge, self._of_writer = open_servers(judge, writer, context.store, context.log)

    def measure(self, instructions: Sequence[str]) -> list[Fairness]:
        """search.Measure, on the documents that choose."""
        return [compute_fairness(c) for c in self._compare(instructions, self._documents.tuning)]

    def check(self, instruction: str) -> list[Choice]:
        """On the documents that choose nothing."""
        return self._compare([instruction], self._documents.check)[0]

    def _compare(
        self, instructions: Sequence[str], documents: Sequence[Document]
    ) -> list[list[Choice]]:
        return compare(instructions, documents, self._judge, self._of_judge)

    def paraphrase(
        self, instruction: str, number: int, num_wanted: int, known: Sequence[str]
    ) -> Paraphrases:
        """search.Paraphrase."""
        seed = self._settings.seed
        asked = [
            ask_paraphrase(instruction, self._fixed, self._writer, seed, f"{number}/{each}")
            for each in range(num_wanted)
        ]
        replies = self._of_writer.ask(asked)
        require_replied(replies)
        in_order = [replies[question.digest] for question in asked]
        if errors := [reply.error for reply in in_order if reply.error is not None]:
            self._log(f"a paraphrase was refused: {errors[0]}")
        return read_paraphrases(in_order, self._fixed, known)


def describe_work(documents: Documents, settings: JudgeTuning) -> str:
    """What is compared, and the most calls that takes."""
    num_pairs, num_check = documents.num_pairs
    num_instructions = settings.rounds * settings.candidates
    num_calls = num_instructions - 1 + 2 * (num_pairs * num_instructions + 2 * num_check)
    return (
        f"{len(documents.tuning)} documents with {num_pairs} pairs of answers choose, "
        f"{len(documents.check)} with {num_check} pairs check; {num_calls:,} calls at most, "
        "retries aside"
    )
