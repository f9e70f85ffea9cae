"""Names of files, for connectors that write or fetch them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from hub.message import Message

UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")
"""Endings by which programs mark files they are still writing."""
LONGEST_TYPE = 40
"""Characters of a message's type in the name of a file."""


def _of_its_own(template: str) -> str:
    fixed = template.replace("{id}", "").replace("{type}", "")
    if "{id}" not in template or not re.fullmatch(r"[A-Za-z0-9._-]*", fixed):
        raise ValueError("expected letters, digits and . _ - with {id}, perhaps {type}, such as {type}-{id}.hl7")
    return template


NameTemplate = Annotated[str, AfterValidator(_of_its_own)]
"""The name of files to write, in which {id} stands for the id of the message and {type} for its type."""


def file_name(template: str, message: Message) -> str:
    return template.replace("{id}", message.id).replace("{type}", re.sub(r"[^A-Za-z0-9]", "_", message.type)[:LONGEST_TYPE])
