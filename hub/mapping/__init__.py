"""Mappings: YAML that says what fields mean, with cases beside it that prove it."""

from hub.mapping.files import Mapping, load_mapping
from hub.mapping.run import MappingResult, run_mapping

__all__ = ["Mapping", "MappingResult", "load_mapping", "run_mapping"]
