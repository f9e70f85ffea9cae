"""What the fuzzer feeds of mail, with what must hold for any bytes.

    python -m tests.fuzz.mail_targets mail FOLDER -max_total_time=60

Run by test_fuzz_mail.py in a process of its own: libFuzzer ends the process it is in.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import atheris

from tests.fuzz.running import feed

with atheris.instrument_imports(include=["hub.formats.mail", "connectors.mail.mailbox"]):
    from connectors.mail.mailbox import messages_of
    from hub.formats.mail.codec import MailFormat, content_of
    from hub.formats.mail.reading import MOST_PARTS, read_mail

LARGE = 256 * 1024
"""Bytes of the input that is made of a small one, to see how time grows."""
LARGE_TIME = 4.0
"""Seconds of CPU it may take, traced as it is."""


def mail(data: bytes) -> None:
    """Any bytes are a mail, whose parts are within bounds and whose fields can be told as JSON."""
    whole, *documents = messages_of(data)
    assert whole.body == data
    assert all(document.body for document in documents)
    assert MailFormat().keys(data, {}).type == whole.type
    read = read_mail(data)
    assert len(read.parts) <= MOST_PARTS
    assert sum(len(part.content) for part in read.parts) <= 2 * len(data) + 4 * MOST_PARTS
    json.dumps(content_of(read), default=str, allow_nan=False, ensure_ascii=False).encode()


TARGETS: dict[str, Callable[[bytes], None]] = {"mail": mail}


if __name__ == "__main__":
    feed(TARGETS, "-max_len=4096", "-timeout=20", large=LARGE, seconds=LARGE_TIME)
