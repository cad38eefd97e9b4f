"""Messages about runs that crashed, failed or did not start: automations, and a block to fill in.

`perpo serve` makes both where they are missing and never touches them again: a block named
perpo-alerts, whose secret `url` is for the one who serves to fill in, and three automations that
send through it, switched off until someone switches them on. As made they send nothing.

A Custom Webhook, because Slack, Mattermost, Teams, ntfy and their like all take such a message; for
another kind of block, choose it in the automation. Left out: a message that this machine is off.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from prefect.automations import AutomationCore
    from prefect.events.schemas.automations import EventTrigger

BLOCK = "perpo-alerts"
LATE_S = 300.0  # missed nights are made up for or cancelled sooner than this, without a message
OVERDUE = "did not start"
ENDED = ("Crashed", "Failed")
STARTED = ("Pending", "Running", "Cancelled", "Cancelling", "Crashed", "Failed", "Completed",
           "AwaitingConcurrencySlot")  # fmt: skip
FILL_IN = "the address of the webhook"
SENTENCE = "{{ flow_run.name }} of {{ deployment.name }} (%s)"
BODY = "{{ flow_run.state.message }}\nRun {{ flow_run.id }}"


def name_alert(what: str) -> str:
    """The automation's name, e.g. for "Crashed"."""
    return f"perpo: a message when a run {what if what == OVERDUE else f'is {what}'}"


def create_alerts() -> None:
    """Make the block and the automations that are not there yet."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        missing = [
            what
            for what in (*ENDED, OVERDUE)
            if not client.read_automations_by_name(name_alert(what))
        ]
        if missing:
            block = find_or_create_block()
            for what in missing:
                client.create_automation(build_alert(what, block))


def find_or_create_block() -> UUID:
    """The document's id."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    slug = CustomWebhookNotificationBlock.get_block_type_slug()
    with get_client(sync_client=True) as client:
        try:
            return client.read_block_document_by_name(BLOCK, slug).id
        except ObjectNotFound:
            pass
    block: Any = CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{url}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        secrets={"url": FILL_IN},
    )
    document: UUID = block.save(BLOCK)
    return document


def build_alert(what: str, block: UUID) -> AutomationCore:
    """The automation, switched off."""
    from prefect.automations import AutomationCore, SendNotification

    return AutomationCore(
        name=name_alert(what),
        description=f"Fill in the secret url of the block {BLOCK}, then switch this on.",
        enabled=False,
        trigger=_build_trigger(what),
        actions=[SendNotification(block_document_id=block, subject=SENTENCE % what, body=BODY)],
    )


def _build_trigger(what: str) -> EventTrigger:
    from prefect.events.schemas.automations import EventTrigger, Posture

    of_deployments = {
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        # Who runs a command in a terminal sees there how it ends.
        "match_related": {"prefect.resource.role": "deployment"},
        "for_each": {"prefect.resource.id"},
        "threshold": 1,
    }
    if what == OVERDUE:
        return EventTrigger(
            after={"prefect.flow-run.Late"},
            expect={f"prefect.flow-run.{state}" for state in STARTED},
            posture=Posture.Proactive,
            within=timedelta(seconds=LATE_S),
            **of_deployments,
        )
    expect = {f"prefect.flow-run.{what}"}
    return EventTrigger(expect=expect, posture=Posture.Reactive, **of_deployments)


def hide_addresses() -> None:
    """Keep the address of a webhook that refused a message out of this process's log lines.

    The server would log httpx's error, whose text holds the whole address, with its traceback.
    """
    import httpx

    build_record = logging.getLogRecordFactory()

    def build_quietly(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = build_record(*arguments, **named)
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, httpx.HTTPStatusError):
            record.msg = f"a webhook answered {error.response.status_code}: {record.getMessage()}"
            record.args, record.exc_info = (), None
        return record

    logging.setLogRecordFactory(build_quietly)
