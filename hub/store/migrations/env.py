"""Runs migrations on the connection the hub hands over, in one transaction."""

from alembic import context

from hub.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
