"""Opening and closing items."""

from __future__ import annotations

from hub import Context, WorklistItem


async def save_item(item: WorklistItem, context: Context) -> WorklistItem:
    """Opens an item unless there is one for this visit, topic and cause; one that is not open closes what is open for its visit
    and topic, or of that what has its cause.
    """
    known = await _open(item, context)
    if not item.open:
        for old in known:
            if item.cause and (old.queue, old.cause) != (item.queue, item.cause):
                continue
            await close_item(old, item.closed_because or "done", context)
        return item
    same = next((i for i in known if i.queue == item.queue and i.cause == item.cause), None)
    if item.appointment:
        for old in known:
            if old is not same:
                await close_item(old, f"now {item.cause}", context)
    if same is not None:
        kept = same.model_copy(update={"text": item.text, "who": item.who})
    else:
        kept = item.model_copy(update={"id": f"w-{await context.number('worklist')}", "opened_at": context.now})
        context.note("worklist", f"For {item.who}: {item.text}")
    await context.put(kept)
    return kept


async def _open(item: WorklistItem, context: Context) -> list[WorklistItem]:
    """What is open for its visit and topic.  Of what belongs to no visit there may be thousands: where the cause alone tells
    which item is meant, only that one.
    """
    if item.appointment:
        found = await context.find(WorklistItem, "open_for", item.appointment, limit=10_000)
        return [other for other in found if other.topic == item.topic]
    if item.open or item.cause:
        return await context.find(WorklistItem, "open_as", same_as(item))
    return await context.find(WorklistItem, "open_about", item.topic, limit=10_000)


def same_as(item: WorklistItem) -> str:
    """Equal for items of which one takes the place of the other."""
    return "\x1f".join((item.appointment, item.queue, item.topic, item.cause))


async def close_item(item: WorklistItem, because: str, context: Context) -> None:
    """One item, and no other of its visit."""
    await context.put(item.model_copy(update={"open": False, "closed_at": context.now, "closed_because": because}))
    context.note("worklist", f"Closed: {item.cause}")
