"""The tables.  Times are microseconds since 1970 in UTC.

What holds patient data is sealed (`body`, `text`) or a keyed digest (`value` of secret kinds, `lane`); what is in the clear
is needed to find and route messages and says nothing about a patient.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

HEAD = "0002"
"""The migration this code works with."""

ERASABLE = "keep > 0 AND body IS NOT NULL"
"""Messages whose bodies go once their work is done.  Queries say it in these words, as those below."""

CONTENT = "=content"
"""Name of the search key under which a record of any kind tells the files it names; no key of a plugin is called so."""
NAMES_FILE = f"name = '{CONTENT}'"
FILES = f"SELECT file FROM message WHERE file IS NOT NULL UNION SELECT value FROM record_key WHERE {NAMES_FILE}"
"""Every file that a message or a record names."""
IS_NAMED = f"""SELECT EXISTS (SELECT 1 FROM message WHERE file = ?1) OR
    EXISTS (SELECT 1 FROM record_key WHERE {NAMES_FILE} AND value = ?1)"""
"""Whether one of them does, in the words of SQLite; PostgreSQL has its places with a dollar."""

metadata = MetaData()

WORD = String().with_variant(String(collation="C"), "postgresql")
"""Compared byte by byte by both databases: what begins with a prefix is a range in whatever language PostgreSQL speaks."""

message = Table(
    "message",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", WORD, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("connection", WORD, nullable=False),
    Column("direction", WORD, nullable=False),  # in, out, own (made by the hub: due work, failures)
    Column("format", WORD, nullable=False),
    Column("type", WORD, nullable=False),
    Column("control_id", WORD, nullable=False),
    Column("parent", WORD),
    Column("generation", Integer, nullable=False),
    Column("state", WORD),  # of messages without work: refused, skipped
    Column("reason", Text),
    Column("flag", WORD),
    Column("size", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("file", WORD),  # bodies over 256 KB
    Column("keep", Integer, nullable=False),  # how long the body stays: 0 full, 1 until delivered, 2 until its end
    Column("body", LargeBinary),
    Index("message_id", "id", unique=True),
    Index("message_connection", "connection", "seq"),
    Index("message_type", "type", "seq"),
    Index("message_parent", "parent", sqlite_where=text("parent IS NOT NULL"), postgresql_where=text("parent IS NOT NULL")),
    Index("message_at", "at"),
    Index("message_file", "file", sqlite_where=text("file IS NOT NULL"), postgresql_where=text("file IS NOT NULL")),
    Index("message_state", "state", "seq", sqlite_where=text("state IS NOT NULL"), postgresql_where=text("state IS NOT NULL")),
    Index("message_erase", "seq", sqlite_where=text(ERASABLE), postgresql_where=text(ERASABLE)),
)

message_key = Table(
    "message_key",
    metadata,
    Column("kind", WORD, primary_key=True),
    Column("value", WORD, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Index("message_key_seq", "seq"),
    sqlite_with_rowid=False,
)

OPEN = "state IN ('waiting', 'working', 'held')"
"""Work that a lane has.  Queries say it in these words: only then do both databases use the partial indexes."""
NOT_DONE = "state NOT IN ('waiting', 'delivered')"
"""Work that is listed by its state."""

work = Table(
    "work",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("seq", BigInteger, nullable=False),  # of its message
    Column("target", WORD, nullable=False),  # flow:NAME or to:NAME
    Column("lane", WORD, nullable=False),
    Column("also", WORD),  # further lanes a merge holds, separated by blanks
    Column("generation", Integer, nullable=False),
    Column("again", Integer, nullable=False),  # 1: a person asked for it after its turn; it gives way to fresh work
    Column("state", WORD, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("step", WORD, nullable=False),  # where a flow goes on; empty: at its beginning
    Column("origin", BigInteger),  # the work that asked
    Column("asks", Integer, nullable=False),  # questions that are out
    Column("config", WORD, nullable=False),
    Column("reason", Text),
    Column("answer", WORD),
    Column("at", BigInteger, nullable=False),
    Column("partition", Integer, nullable=False, server_default=text("0")),  # of its lane; hubs share them (PostgreSQL)
    Index("work_seq", "seq"),
    Index("work_open", "target", "id", sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
    Index("work_by_lane", "target", "lane", "id", sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
    Index("work_not_done", "state", "id", sqlite_where=text(NOT_DONE), postgresql_where=text(NOT_DONE)),
)

work_lane = Table(  # the further lanes of a merge, so that they can be looked up too
    "work_lane",
    metadata,
    Column("target", WORD, primary_key=True),
    Column("lane", WORD, primary_key=True),
    Column("work", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    Column("work", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("code", WORD, nullable=False),
    Column("text", Text, nullable=False),  # in our own words
    Column("reply", LargeBinary),  # the partner's words, sealed
    sqlite_with_rowid=False,
)

note = Table(
    "note",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("what", WORD, nullable=False),
    Column("text", LargeBinary, nullable=False),
    Index("note_seq", "seq"),
)

seen = Table(
    "seen",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("seen_at", "at"),
    sqlite_with_rowid=False,
)

record = Table(
    "record",
    metadata,
    Column("kind", WORD, primary_key=True),
    Column("id", WORD, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

record_key = Table(
    "record_key",
    metadata,
    Column("kind", WORD, primary_key=True),
    Column("name", WORD, primary_key=True),
    Column("value", WORD, primary_key=True),
    Column("id", WORD, primary_key=True),
    Column("sole", Integer, nullable=False),  # 1: at most one record may have this value
    Index("record_key_id", "kind", "id"),
    Index(
        "record_key_only",
        "kind",
        "name",
        "value",
        unique=True,
        sqlite_where=text("sole = 1"),
        postgresql_where=text("sole = 1"),
    ),
    Index("record_key_content", "value", sqlite_where=text(NAMES_FILE), postgresql_where=text(NAMES_FILE)),
    sqlite_with_rowid=False,
)

due = Table(
    "due",
    metadata,
    Column("job", WORD, primary_key=True),
    Column("key", WORD, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("due_at", "at"),
    sqlite_with_rowid=False,
)

route_state = Table(  # what people have stopped: without a row it goes on
    "route_state",
    metadata,
    Column("name", WORD, primary_key=True),  # flow:NAME, to:NAME, from:NAME
    Column("state", WORD, nullable=False),  # paused, draining
    Column("until", BigInteger, nullable=False),  # draining: work up to this id is still done
    Column("at", BigInteger, nullable=False),
    Column("actor", WORD, nullable=False),
)

job = Table(  # what takes longer than one commit and goes on after a restart
    "job",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("kind", WORD, nullable=False),  # replay
    Column("state", WORD, nullable=False),  # running, done, stopped
    Column("at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("actor", WORD, nullable=False),
    Column("total", BigInteger, nullable=False),  # messages it was asked for
    Column("looked", BigInteger, nullable=False),  # of these, how many it has come to
    Column("done", BigInteger, nullable=False),  # of these, how many it did something for
    Column("params", Text, nullable=False),  # JSON, without patient data
    Column("seqs", LargeBinary, nullable=False),  # the messages, packed
    Index("job_running", "id", sqlite_where=text("state = 'running'"), postgresql_where=text("state = 'running'")),
)

counter = Table(
    "counter",
    metadata,
    Column("name", WORD, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", WORD, nullable=False),
    Column("action", WORD, nullable=False),
    Column("object", WORD, nullable=False),
    Column("detail", Text, nullable=False),
    Column("chain", LargeBinary, nullable=False),  # SHA-256 of the row and the chain value before it
)

data_key = Table(
    "data_key",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("wrapped", LargeBinary, nullable=False),
)

info = Table(
    "info",
    metadata,
    Column("name", WORD, primary_key=True),
    Column("value", Text, nullable=False),
)

node = Table(  # the hubs at work on one database (PostgreSQL); times are those of the database's clock
    "node",
    metadata,
    Column("id", WORD, primary_key=True),
    Column("name", WORD, nullable=False),
    Column("until", BigInteger, nullable=False),  # without a sign of life until then the others take over
    Column("shares", Integer, nullable=False),  # 1: takes partitions; 0: a command
    Column("knows", Integer, nullable=False),  # 1: takes turns with others when it commits
    Column("number", BigInteger, nullable=False),  # of its newest commit
    Column("first_seq", BigInteger, nullable=False),  # the first numbers that commit gave
    Column("first_work", BigInteger, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("node", WORD),  # nobody's without one, or when that one is gone
)
