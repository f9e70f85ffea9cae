"""What the fields mean: one YAML file for each mapping, with its cases beside it."""
