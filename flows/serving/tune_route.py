"""The pages of a store's studies over http: trials side by side, and the choice between them.

    /<key>/                      all studies
    /<key>/<study>               its next question
    /<key>/<study>/answer        takes the form of that page, and nothing else

They open by a key in the address, or by the password of the API where there is one. An answer adds
a line to the study's comparisons; nothing else is written, and no path is taken from an address.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import get_args
from urllib.parse import parse_qs

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from flows.serving.locked import Locked, refuse
from perpo_core.store.store import Store
from perpo_core.tuning.page import MEDIA_TYPES, load_asset, render_list, render_study
from perpo_core.tuning.questions import Question
from perpo_core.tuning.standing import compute_standing
from perpo_core.tuning.study import Study, find_study, list_studies
from schemas.tuning import Choice

MAX_FORM_BYTES = 4096
# Not no-referrer, with which a browser says "Origin: null" of our own form, and is refused.
HEADERS = {"Referrer-Policy": "same-origin"}
CHOICES: tuple[Choice, ...] = get_args(Choice)


class Unsound(ValueError):
    """A form is none of ours; the message is a sentence."""


class Pages:
    """What each address answers."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = cache(open_store)  # of a bucket that does not answer, not before asked

    def list_all(self, request: Request) -> Response:
        """All studies."""
        return HTMLResponse(render_list(list_studies(self._open_store())), headers=HEADERS)

    def show(self, request: Request) -> Response:
        """A study, or what its page loads."""
        name = request.path_params["study"]
        if name in MEDIA_TYPES:
            return Response(load_asset(name), headers={"Content-Type": MEDIA_TYPES[name]})
        study = find_study(self._open_store(), name)
        if study is None:
            return refuse(404, "there is no such study")
        return HTMLResponse(render_study(study), headers=HEADERS)

    async def take_answer(self, request: Request) -> Response:
        """Keep what the form says, unless that was answered meanwhile; back to the page."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                return refuse(413, "the form is too long")
        return await run_in_threadpool(self._keep, request.path_params["study"], body)

    def _keep(self, name: str, body: bytes) -> Response:
        study = find_study(self._open_store(), name)
        if study is None:
            return refuse(404, "there is no such study")
        try:
            question, choice = read_form(study, body)
        except Unsound as reason:
            return refuse(400, str(reason))
        study.answer(question, choice, "person")
        return RedirectResponse(f"../{study.name}", 303)


def read_form(study: Study, body: bytes) -> tuple[Question, Choice]:
    """The question and its answer; raises Unsound."""
    try:
        form = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=4)
        number = int(form["number"][0])
        first, second = (
            tuple(int(part) for part in form[side][0].split(",")) for side in ("first", "second")
        )
        choice = next(each for each in CHOICES if each == form["choice"][0])
    except (ValueError, KeyError, StopIteration, ValidationError) as error:
        raise Unsound("that is no answer of this page; go back to it") from error
    standing = compute_standing(study)
    done = {trial.number for trial in standing.done}
    if standing.config.user != "person" or number < 0 or not done.issuperset([*first, *second]):
        raise Unsound("there is no such question; go back to the page")
    return Question(number, first, second), choice


def build_tune_app(
    open_store: Callable[[], Store], key: str | None, auth: str | None = None
) -> ASGIApp:
    """The pages, for who has the key in the address or `auth`, "user:password"."""
    pages = Pages(open_store)
    app = Starlette(
        routes=[
            Route("/", pages.list_all),
            Route("/{study}", pages.show),
            Route("/{study}/answer", pages.take_answer, methods=["POST"]),
        ]
    )
    app.router.redirect_slashes = False
    return Locked(app, key, auth)
