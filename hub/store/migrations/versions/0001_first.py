"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


WORD = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def partial(condition: str) -> dict[str, sa.TextClause]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    messages()
    works()
    operations()
    records()
    housekeeping()
    nodes()


def messages() -> None:
    op.create_table(
        "message",
        sa.Column("seq", big(), primary_key=True),
        sa.Column("id", WORD, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("connection", WORD, nullable=False),
        sa.Column("direction", WORD, nullable=False),
        sa.Column("format", WORD, nullable=False),
        sa.Column("type", WORD, nullable=False),
        sa.Column("control_id", WORD, nullable=False),
        sa.Column("parent", WORD),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("state", WORD),
        sa.Column("reason", sa.Text),
        sa.Column("flag", WORD),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("file", WORD),
        sa.Column("keep", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary),
    )
    op.create_index("message_id", "message", ["id"], unique=True)
    op.create_index("message_connection", "message", ["connection", "seq"])
    op.create_index("message_type", "message", ["type", "seq"])
    op.create_index("message_parent", "message", ["parent"], **partial("parent IS NOT NULL"))
    op.create_index("message_at", "message", ["at"])
    op.create_index("message_file", "message", ["file"], **partial("file IS NOT NULL"))
    op.create_index("message_state", "message", ["state", "seq"], **partial("state IS NOT NULL"))
    op.create_index("message_erase", "message", ["seq"], **partial("keep > 0 AND body IS NOT NULL"))
    op.create_table(
        "message_key",
        sa.Column("kind", WORD, primary_key=True),
        sa.Column("value", WORD, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("message_key_seq", "message_key", ["seq"])
    op.create_table(
        "note",
        sa.Column("id", big(), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("what", WORD, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
    op.create_index("note_seq", "note", ["seq"])
    op.create_table(
        "seen",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("seen_at", "seen", ["at"])


def works() -> None:
    op.create_table(
        "work",
        sa.Column("id", big(), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("target", WORD, nullable=False),
        sa.Column("lane", WORD, nullable=False),
        sa.Column("also", WORD),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("again", sa.Integer, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("step", WORD, nullable=False),
        sa.Column("origin", sa.BigInteger),
        sa.Column("asks", sa.Integer, nullable=False),
        sa.Column("config", WORD, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("answer", WORD),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    unfinished = "state IN ('waiting', 'working', 'held')"
    op.create_index("work_seq", "work", ["seq"])
    op.create_index("work_open", "work", ["target", "id"], **partial(unfinished))
    op.create_index("work_by_lane", "work", ["target", "lane", "id"], **partial(unfinished))
    op.create_index("work_not_done", "work", ["state", "id"], **partial("state NOT IN ('waiting', 'delivered')"))
    op.create_table(
        "work_lane",
        sa.Column("target", WORD, primary_key=True),
        sa.Column("lane", WORD, primary_key=True),
        sa.Column("work", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempt",
        sa.Column("work", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("code", WORD, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("reply", sa.LargeBinary),
        sqlite_with_rowid=False,
    )


def operations() -> None:
    op.create_table(
        "route_state",
        sa.Column("name", WORD, primary_key=True),
        sa.Column("state", WORD, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", WORD, nullable=False),
    )
    op.create_table(
        "job",
        sa.Column("id", WORD, primary_key=True),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("actor", WORD, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("looked", sa.BigInteger, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("seqs", sa.LargeBinary, nullable=False),
    )
    op.create_index("job_running", "job", ["id"], **partial("state = 'running'"))


def records() -> None:
    op.create_table(
        "record",
        sa.Column("kind", WORD, primary_key=True),
        sa.Column("id", WORD, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "record_key",
        sa.Column("kind", WORD, primary_key=True),
        sa.Column("name", WORD, primary_key=True),
        sa.Column("value", WORD, primary_key=True),
        sa.Column("id", WORD, primary_key=True),
        sa.Column("sole", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("record_key_id", "record_key", ["kind", "id"])
    op.create_index("record_key_only", "record_key", ["kind", "name", "value"], unique=True, **partial("sole = 1"))


def housekeeping() -> None:
    op.create_table(
        "due",
        sa.Column("job", WORD, primary_key=True),
        sa.Column("key", WORD, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("due_at", "due", ["at"])
    op.create_table(
        "counter", sa.Column("name", WORD, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "audit",
        sa.Column("seq", big(), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", WORD, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("object", WORD, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "data_key",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table("info", sa.Column("name", WORD, primary_key=True), sa.Column("value", sa.Text, nullable=False))


def nodes() -> None:
    op.create_table(
        "node",
        sa.Column("id", WORD, primary_key=True),
        sa.Column("name", WORD, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("shares", sa.Integer, nullable=False),
        sa.Column("knows", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("first_seq", sa.BigInteger, nullable=False),
        sa.Column("first_work", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lease", sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False), sa.Column("node", WORD)
    )
