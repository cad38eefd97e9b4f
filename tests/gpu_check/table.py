"""The JSON object as one Markdown table: a row a case, and one for every part without any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What a row may hold -> how it is written, in this order.
FIGURES: dict[str, str] = {
    "logps_difference": "logps {:.1e}",
    "logps_tolerance": "(at most {:.1e})",
    "gradient_difference": "gradients {:.1e}",
    "gradient_tolerance": "(at most {:.1e})",
    "output_error": "outputs {:.1e}",
    "gradient_error": "gradients {:.1e}",
    "error_tolerance": "(relative, at most {:.0e})",
    "way": "attention by {}",
    "tokens": "{:,} tokens",
    "step_ms": "{:.2f} ms forward and backward",
    "first_s": "first call {:.1f} s",
    "peak_mib": "peak {:,} MiB",
    "losses": "losses of the steps {}",
    "loss_difference": "from the CPU's {:.1e}",
    "loss_tolerance": "(relative, at most {:.0e})",
    "weight_change": "weights moved {:.1e}",
    "lists_per_s": "{:.3f} lists/s",
    "tokens_per_s": "{:,} tokens/s",
    "share_of_peak": "{:.1%} of peak",
    "peak_gib": "peak {:.2f} GiB",
    "steps": "counted steps {}",
    "loss": "first loss {:.4f}",
    "rows_in": "{:,} in",
    "rows_kept": "{:,} kept",
    "before": "{:.3f}",
    "after": "to {:.3f}",
    "prompts": "on {} prompts",
    "stage_s": "{:.1f} s",
    "held_before_mib": "{:,} MiB before",
    "held_peak_mib": "{:,} MiB at most",
    "held_after_mib": "{:,} MiB after",
    "processes_left": "{} processes left",
    "device": "on {}",
    "engine": "by {}",
    "note": "{}",
}


def write_table(check: dict[str, Any]) -> str:
    """Caption and table."""
    lines = [describe(check), "", "| part | case | result | figures |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cells)} |" for part in check["parts"] for cells in write_part(part)]
    return "\n".join(lines) + "\n"


def describe(check: dict[str, Any]) -> str:
    """Date, card and versions in a line."""
    machine = check["machine"]
    memory = f" ({machine['card_gib']} GiB)" if machine["card_gib"] else ""
    versions = [f"Python {machine['python']}", f"torch {machine['torch']}"]
    versions += [f"CUDA {machine['cuda']}"] if machine["cuda"] else ["no CUDA"]
    versions += [f"transformers {machine['transformers']}", f"peft {machine['peft']}"]
    versions += [f"vLLM {machine['vllm']}" if machine["vllm"] else "no vLLM"]
    small = " In miniature: these are no figures." if check["miniature"] else ""
    return (
        f"{check['date']}, {machine['card']}{memory}: {', '.join(versions)}; "
        f"{check['seconds']:.0f} s.{small}"
    )


def write_part(part: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of a part's rows; its own row has the sentence, if there is one."""
    yield [f"**{part['name']}**", "", f"**{part['status']}**", _clean(
        f"{part['seconds']:.0f} of {part['budget_s']:.0f} s. {part['reason']}".strip()
    )]  # fmt: skip
    for row in part["rows"]:
        figures = [
            form.format(row[name]) for name, form in FIGURES.items() if row.get(name) is not None
        ]
        yield [part["name"], _clean(row["case"]), row["result"], _clean(", ".join(figures))]


def _clean(text: str) -> str:
    return text.replace("|", "/").replace(", (", " (").replace(", to ", " to ").replace("\n", " ")
