"""A comparison for readers: one page, its figures as files, its tables as Markdown.

    page.py        the page, from the tables and figures below
    tables.py      start and methods: what each is worth; cost_rows.py: what it takes
    pairs.py       every two of them
    metrics.py     every other metric, task by task
    looks.py       image, ranking and drift of what was trained
    sweeps.py      what was tried before, and what each run took
    forest.py      differences as a plot; curves.py: over IoU, over n;
                   by_setting.py: over the setting that tells them apart, which
                   setting_axis.py finds
    figures.py     which figures there are; in the page, and as files
    markdown.py    the tables for docs/

Whatever a report does not have (a sweep, other tasks) is left out.
"""

from perpo_core.evidence.page.figures import build_figures
from perpo_core.evidence.page.markdown import write_markdown
from perpo_core.evidence.page.page import build_page

__all__ = ["build_figures", "build_page", "write_markdown"]
