"""The store: schema, migrations, the statements of the writer, and every query."""
