"""Do prompts fit the policy with their images, and does its processor take these images?

Asked of the policy's own processor, in a child process (perpo_core/doctor/measuring.py), since
loading it imports torch. What an image adds depends on its size alone: a blank image stands for all
of a size. Every prompt's text is measured; of very many sizes the extremes and some between are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from perpo_core.doctor.findings import Finding, Level
from perpo_core.doctor.naming import describe_rows
from perpo_core.process.environment import build_child_env
from perpo_core.process.parent import ChildFailed, run_child
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.store.keys import compute_hash
from perpo_core.vision.images import compute_scaled_size
from schemas.config import RefreshConfig
from schemas.run import Measured, MeasureJob
from schemas.sources import RowsSource

Size = tuple[int, int]  # width and height in pixels, as stored

CHILD = "perpo_core.doctor.measuring"
TIMEOUT_S = 600  # without a word from the child
MAX_SIZES = 64
MAX_MEGAPIXELS = 256  # of all blank images together; a processor takes seconds for so many


def check_lengths(
    config: RefreshConfig, policy_folder: Path, rows: Sequence[SampleRow]
) -> Iterator[Finding]:
    """Of every row: room for an answer beside prompt and image, and an image that is taken."""
    if not rows:
        return
    prompts = {name_prompt(row): row["prompt"] for row in rows}
    sizes = {size for row in rows for size in get_sizes(config, row)}
    chosen = choose_sizes(sizes)
    try:
        limits = config.policy.pixel_limits
        job = MeasureJob(
            folder=policy_folder, prompts=list(prompts.values()), sizes=chosen, pixel_limits=limits
        )
        measured = measure(job)
    except ChildFailed as failure:
        last = f": {failure.last_lines[-1]}" if failure.last_lines else ""
        yield Finding("error", f"policy {policy_folder}: its processor {failure.reason}{last}")
        return
    yield from _report_processor(policy_folder, measured)
    yield from _report_refusals(config, rows, dict(zip(chosen, measured.refusals, strict=True)))
    if measured.problem:
        return
    tokens_of = dict(zip(prompts, measured.prompt_tokens, strict=True))
    image_tokens = dict(zip(chosen, measured.image_tokens, strict=True))
    lengths = {}
    for number, row in enumerate(rows):
        extras = [image_tokens.get(size) for size in get_sizes(config, row)]
        if None not in extras:
            lengths[number] = tokens_of[name_prompt(row)] + sum(map(int, filter(None, extras)))
    yield from _report_lengths(config, rows, lengths)
    if limits.describe() and (counted := [tokens for tokens in image_tokens.values() if tokens]):
        named = " and ".join(f"policy.{name} = {n}" for name, n in limits.describe().items())
        yield Finding("ok", f"images: with {named} one adds at most {max(counted)} tokens")
    if lengths:
        few = f"; {len(chosen)} of {len(sizes)} image sizes were measured"
        yield Finding(
            "ok",
            f"prompts: with its image the longest takes {max(lengths.values())} of "
            f"policy.max_model_len = {config.policy.max_model_len} tokens"
            f"{few if len(chosen) < len(sizes) else ''}",
        )


def measure(job: MeasureJob) -> Measured:
    """What the policy's processor makes of texts and sizes; raises ChildFailed if it breaks."""
    result = run_child(
        CHILD,
        job,
        on_event=lambda event: None,
        log=lambda message: None,
        progress_timeout_s=TIMEOUT_S,
        env=build_child_env(threads=1, devices=[]),  # a processor needs no GPU
    )
    return Measured.model_validate(result)


def name_prompt(row: SampleRow) -> str:
    """The same for rows with the same messages."""
    return compute_hash(row["prompt"])


def get_sizes(config: RefreshConfig, row: SampleRow) -> list[Size]:
    """Of a row's images in the store, whether they are there already (`sizes`) or not."""
    if "sizes" in row:
        return list(row["sizes"])
    sizes = [(image.stored.width, image.stored.height) for image in row["row_images"]]
    if isinstance(config.source, RowsSource):
        return [compute_scaled_size(size, config.source.max_image_side) for size in sizes]
    return sizes


def choose_sizes(sizes: Collection[Size]) -> list[Size]:
    """The sizes to measure: all, or the extremes of area, shape and side, and some between.

    At most MAX_SIZES, and no more than MAX_MEGAPIXELS in all besides the largest.
    """
    by_area = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    by_shape = sorted(by_area, key=lambda size: size[0] / size[1])
    extremes = [by_area[-1], by_shape[0], by_shape[-1], max(by_area), by_area[0]]
    extremes.append(max(by_area, key=lambda size: size[1]))
    last = len(by_area) - 1
    between = [by_area[round(k * last / (MAX_SIZES - 1))] for k in range(MAX_SIZES)]
    chosen: list[Size] = []
    room = MAX_MEGAPIXELS * 1e6
    for width, height in dict.fromkeys(extremes + between):
        room -= width * height
        if not chosen or (room >= 0 and len(chosen) < MAX_SIZES):
            chosen.append((width, height))
    return chosen


def _report_processor(folder: Path, measured: Measured) -> Iterator[Finding]:
    if measured.problem:
        yield Finding(
            "error",
            f"policy {folder}: its processor cannot be loaded here ({measured.problem}); sampling "
            "and training need it",
        )
    if measured.disagreement:
        yield Finding("error", f"policy {folder}: {measured.disagreement}")


def _report_refusals(
    config: RefreshConfig, rows: Sequence[SampleRow], refusal_of: dict[Size, str | None]
) -> Iterator[Finding]:
    found = [
        (row["row"], f"cannot be asked: {refusal}")
        for row in rows
        if (refusal := next(filter(None, map(refusal_of.get, get_sizes(config, row))), None))
    ]
    if found:
        what = describe_rows(found, "cut the image or remove the row")
        yield Finding(_choose_level(config), f"source: {what}")


def _report_lengths(
    config: RefreshConfig, rows: Sequence[SampleRow], lengths: dict[int, int]
) -> Iterator[Finding]:
    """Rows without room for an answer, and those with less than answers may need."""
    max_model_len, max_tokens = config.policy.max_model_len, config.generate.max_tokens
    too_long, tight = [], []
    for number, length in lengths.items():
        name = rows[number]["row"]
        if length >= max_model_len:
            what = f"prompt and image take {length} tokens, policy.max_model_len is {max_model_len}"
            too_long.append((name, f"is too long: {what}"))
        elif length + max_tokens > max_model_len:
            what = f"prompt and image take {length} tokens and answers may have {max_tokens}"
            tight.append((name, f"is too long: {what}, policy.max_model_len is {max_model_len}"))
    smaller = ", lower source.max_image_side" if isinstance(config.source, RowsSource) else ""
    for found, also in ((too_long, ""), (tight, ", or lower generate.max_tokens")):
        if found:
            advice = f"raise that{smaller}{also}"
            yield Finding(_choose_level(config), f"source: {describe_rows(found, advice)}")


def _choose_level(config: RefreshConfig) -> Level:
    """Prompts that cannot be answered are dropped and counted, where bad rows may be."""
    source = config.source
    drops = isinstance(source, RowsSource) and source.on_bad_row == "drop"
    return "warning" if drops else "error"
