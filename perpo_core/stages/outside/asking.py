"""Questions to a server whose replies the store keeps: what was replied to is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perpo_core.stages.outside.questions import Question
from perpo_core.stages.outside.replies import Replies
from perpo_core.stages.outside.server import Reply, Server


class Asking:
    """Asks a server what a store has no reply to; `name` says who is asked, in the log."""

    def __init__(
        self, server: Server, replies: Replies, name: str, log: Callable[[str], None]
    ) -> None:
        self._server, self._replies, self._name, self._log = server, replies, name, log

    def ask(self, asked: Sequence[Question]) -> dict[str, Reply]:
        """Digest of a question -> its reply. Raises ValueError as Server.ask_all does."""
        questions = {question.digest: question for question in asked}
        known = self._replies.find(questions)
        replies = {name: Reply(text) for name, text in known.items()}
        wanting = [question for name, question in questions.items() if name not in known]
        made = self._server.ask_all(wanting, self._replies.keep)
        replies.update(made)
        if questions:
            num_failed = sum(reply.text is None for reply in made.values())
            self._log(
                f"{self._name}: {len(questions)} questions, {len(known)} of them "
                f"replied to before, {len(made) - num_failed} now, {num_failed} not"
            )
        return replies
