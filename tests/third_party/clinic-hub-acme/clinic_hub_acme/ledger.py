"""A connector: each message is a line of a file."""

from pathlib import Path

from hub import ConnectionDown, Destination, DestinationConfig, Message


class LedgerConfig(DestinationConfig):
    """Settings of a ledger."""

    path: Path
    """File to write to."""
    mark: str = "-"
    """What each line begins with."""


class Ledger(Destination[LedgerConfig]):
    """Writes each message as a line."""

    kind = "acme_ledger"
    repeat = "safe"

    async def send(self, message: Message) -> Message | None:
        try:
            with self.config.path.open("ab") as file:
                file.write(f"{self.config.mark} ".encode() + message.body + b"\n")
        except OSError as error:
            raise ConnectionDown(f"{self.name}: cannot write {self.config.path}: {error.strerror}") from None
        return None
