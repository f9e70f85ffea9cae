"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


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


def messages() -> None:
    op.create_table(
        "message",
        sa.Column("seq", big(), primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("connection", sa.String, nullable=False),
        sa.Column("direction", sa.String, nullable=False),
        sa.Column("format", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("control_id", sa.String, nullable=False),
        sa.Column("parent", sa.String),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("state", sa.String),
        sa.Column("reason", sa.Text),
        sa.Column("flag", sa.String),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("file", sa.String),
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
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("value", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("message_key_seq", "message_key", ["seq"])
    op.create_table(
        "note",
        sa.Column("id", big(), primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("what", sa.String, nullable=False),
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
        sa.Column("target", sa.String, nullable=False),
        sa.Column("lane", sa.String, nullable=False),
        sa.Column("also", sa.String),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("again", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("origin", sa.BigInteger),
        sa.Column("asks", sa.Integer, nullable=False),
        sa.Column("config", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("answer", sa.String),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    unfinished = "state IN ('waiting', 'working', 'held')"
    op.create_index("work_seq", "work", ["seq"])
    op.create_index("work_open", "work", ["target", "id"], **partial(unfinished))
    op.create_index("work_by_lane", "work", ["target", "lane", "id"], **partial(unfinished))
    op.create_index("work_not_done", "work", ["state", "id"], **partial("state NOT IN ('waiting', 'delivered')"))
    op.create_table(
        "work_lane",
        sa.Column("target", sa.String, primary_key=True),
        sa.Column("lane", sa.String, primary_key=True),
        sa.Column("work", sa.BigInteger, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempt",
        sa.Column("work", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("reply", sa.LargeBinary),
        sqlite_with_rowid=False,
    )


def operations() -> None:
    op.create_table(
        "route_state",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
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
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "record_key",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("only", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("record_key_id", "record_key", ["kind", "id"])
    op.create_index("record_key_only", "record_key", ["kind", "name", "value"], unique=True, **partial("only = 1"))


def housekeeping() -> None:
    op.create_table(
        "due",
        sa.Column("job", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("due_at", "due", ["at"])
    op.create_table(
        "counter", sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
    )
    op.create_table(
        "audit",
        sa.Column("seq", big(), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("object", sa.String, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "data_key",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    op.create_table("info", sa.Column("name", sa.String, primary_key=True), sa.Column("value", sa.Text, nullable=False))
