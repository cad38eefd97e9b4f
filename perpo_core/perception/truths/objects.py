"""The true JSON object of a row, as one text: keys in order, so that equal objects are equal."""

from __future__ import annotations

from perpo_core.perception.json_objects import parse_json_object, write_object
from perpo_core.perception.truths.row import (
    MissingKey,
    Raw,
    RowError,
    Size,
    check_unicode,
    show_value,
)


def parse_object(raw: Raw, where: str, size: Size) -> str:
    """`answer`, an object or the text of one, as canonical JSON. Raises RowError."""
    del size
    answer = raw.get("answer")
    if answer is None:
        said = f"{where}: answer is missing; give the JSON object that is to be read"
        raise MissingKey("missing answer", said, "answer")
    text = answer if isinstance(answer, str) else _write(answer, where)
    found, problem = parse_json_object(text)
    is_alone = text.strip().startswith("{") and text.strip().endswith("}")
    if found is None or not is_alone:
        why = problem.replace(" in the answer", "") if problem else "words around it"
        said = f"{where}: answer {show_value(answer)} is not a JSON object: {why}"
        raise RowError("bad object", said)
    return check_unicode(_write(found, where), "answer", where)


def _write(answer: object, where: str) -> str:
    try:
        return write_object(answer)
    except ValueError as error:
        said = f"{where}: answer {show_value(answer)} is not a JSON object: {error}"
        raise RowError("bad object", said) from error
