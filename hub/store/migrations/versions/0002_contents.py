"""Which records name a file is found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    names_file = sa.text("name = '=content'")
    op.create_index("record_key_content", "record_key", ["value"], sqlite_where=names_file, postgresql_where=names_file)
