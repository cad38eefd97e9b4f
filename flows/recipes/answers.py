"""A person's answer to a promotion that waits, from the command line or from the UI's form."""

from __future__ import annotations

from flows.runs.records import load_records
from perpo_core.promotion.approvals import approve, reject
from perpo_core.promotion.pointer import Pointer
from perpo_core.store.locks import share_store
from perpo_core.store.store import Store
from schemas.run import RunRecord


def apply_answer(store: Store, record: RunRecord, approved: bool, comment: str) -> str:
    """Do as the person says, write the pages that tell of it anew; what came of it, in a sentence.

    Raises ValueError if there is nothing to answer, or if the policy is gone or damaged.
    """
    with share_store(store):
        if approved:
            said = describe_pointer(approve(store, record, comment))
        else:
            reject(store, record, comment)
            said = f"the policy of {record.run_id} is not promoted; the promoted policy stays"
        write_pages(store, record)
    return said


def write_pages(store: Store, record: RunRecord) -> None:
    """The run's report and the page of all runs."""
    from perpo_core.report import write_report  # matplotlib is slow to import
    from perpo_core.report.trends import write_trends

    write_report(store, record)
    write_trends(store, load_records(store))


def describe_pointer(pointer: Pointer) -> str:
    """Where the promoted policy is now, and what the next night makes of it."""
    what = "the policy the rounds began with" if pointer.folder is None else "the promoted policy"
    next_night = (
        "the next run with policy.model = promoted starts from it, is compared with it, and makes "
        "anew what depends on the policy"
    )
    if pointer.rolled_back:
        next_night += "; a promotion that was applied before is not applied again"
    return f"{what} is now {pointer.policy_digest[:12]}; {next_night}"
