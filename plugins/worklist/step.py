"""The step `worklist`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from hub import Context, CoverageCheck, Message, MessageUnusable, Step, StepConfig, StepResult, WorklistItem


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class WorklistConfig(StepConfig):
    """Settings of `worklist`."""

    queue: str = "front_desk"
    """Whose list it is."""
    unless: Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=list[str] | str)] = ["covered"]
    """Outcomes that need nobody; they close what is open for the visit."""


class Worklist(Step[WorklistConfig]):
    """Opens an item when an outcome needs a person, and closes it when one does not any more."""

    kind = "worklist"
    main = "queue"

    async def run(self, message: Message, context: Context) -> StepResult:
        check = message.record
        if not isinstance(check, CoverageCheck):
            raise MessageUnusable(f"worklist works on an outcome, but this is {message.format}", code="WRK-001")
        if check.outcome in self.config.unless or (
            check.action is None and check.outcome not in ("pending", "payer_unavailable")
        ):
            await context.save(WorklistItem(appointment=check.id, open=False, closed_because=f"outcome: {check.outcome}"))
        elif check.action is not None:
            item = WorklistItem(
                queue=self.config.queue,
                appointment=check.id,
                text=check.action,
                who=check.who or "coordinator",
                cause=check.cause or check.outcome,
            )
            await context.save(item)
        return message
