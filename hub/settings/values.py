"""Typing the values of one part of a file: every mistake becomes a problem at the place of its value."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from hub.catalogue import Catalogue
from hub.errors import Problem, Problems
from hub.settings import secrets
from hub.settings.merge import Layered
from hub.yaml_text import Key


class Values:
    """Types values, looks up the secrets they refer to, and keeps literal ones out of every report."""

    def __init__(self, folder: Path, catalogue: Catalogue, strict_secrets: bool, problems: Problems) -> None:
        self.folder = folder
        self.catalogue = catalogue
        self.strict_secrets = strict_secrets
        self.problems = problems
        self._literals: set[str] = set()

    def typed(self, model: type[Any], layered: Layered, where: str, *, partial: bool = False) -> Any:
        """The values as their model; None when something is wrong with them.

        Of `partial` values only each by itself can be wrong: what is missing, and what they say together, is for others.
        """
        before = len(self.problems.errors)
        self._refuse_literal_secrets(model, layered, (), layered.data, where)
        unset: set[Key] = set()
        data = self._resolved(layered, (), layered.data, unset)
        try:
            value = model.model_validate(data)
        except ValidationError as error:
            for mistake in error.errors(include_input=False, include_url=False):
                for_others = partial and (mistake["type"] == "missing" or isinstance(_at(data, mistake["loc"]), dict))
                if not for_others and not any(_one_inside_the_other(mistake["loc"], key) for key in unset):
                    self.problems.add(_problem(model, layered, mistake, where))
            return None
        return value if len(self.problems.errors) == before else None

    def _resolved(self, layered: Layered, key: Key, value: Any, unset: set[Key]) -> Any:
        if secrets.is_reference(value):
            secret, reason = secrets.resolve(value, self.folder, self.catalogue.find_secret)
            if secret is None:
                level = "error" if self.strict_secrets or reason.startswith("'") else "warning"
                self.problems.add(layered.problem("CFG-050", key, reason, level=level))
                unset.add(key)
            return secret if secret is not None else "unset"
        if isinstance(value, dict):
            given = {name: child for name, child in value.items() if child is not None}
            return {name: self._resolved(layered, (*key, name), child, unset) for name, child in given.items()}
        if isinstance(value, list):
            return [self._resolved(layered, (*key, index), child, unset) for index, child in enumerate(value)]
        return value

    def _refuse_literal_secrets(self, model: type[BaseModel], layered: Layered, key: Key, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            return
        for name, info in model.model_fields.items():
            value = data.get(name)
            kinds = (info.annotation, *typing.get_args(info.annotation))
            if SecretStr in kinds:
                for place, literal in _literals(value):
                    self._literals.add(literal)
                    problem = layered.problem(
                        "CFG-051", (*key, name, *place), f"the secret {name!r} is written into the file {where}",
                        expected=f"{name}: {{$env: NAME}} or {name}: {{$file: path}}",
                        help="take it out, change it at the vendor, and refer to it",
                    )  # fmt: skip
                    self.problems.add(problem)
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    self._refuse_literal_secrets(kind, layered, (*key, name), value, where)

    def keep_out_of_reports(self, literal: str) -> None:
        """A secret stands in the file: no line is shown with it."""
        self._literals.add(literal)

    def without_literals(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems as they may be shown: what was found to be a secret is dotted out in every line."""
        return [replace(problem, source=self._dotted(problem.source)) for problem in problems]

    def _dotted(self, source: str) -> str:
        for literal in filter(None, self._literals):
            source = source.replace(literal, "•" * len(literal))
        return source


def _literals(value: Any) -> list[tuple[Key, str]]:
    """Texts where a secret, or a list of them, belongs, and where in it they stand."""
    if isinstance(value, list):
        return [((number,), item) for number, item in enumerate(value) if isinstance(item, str)]
    return [((), value)] if isinstance(value, str) else []


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    names = sorted(names)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names[:20])}" if names else "there are none"


def _problem(model: type[Any], layered: Layered, mistake: Any, where: str) -> Problem:
    """What pydantic found, in our words."""
    key = tuple(mistake["loc"])
    name = str(key[-1]) if key else ""
    if mistake["type"] == "extra_forbidden":
        fields = _fields_at(model, key[:-1])
        expected, help = ", ".join(fields), did_you_mean(name, fields)
        return layered.problem("CFG-020", key, f"unknown field {name!r} {where}", of_key=True, expected=expected, help=help)
    if mistake["type"] == "missing":
        return layered.problem("CFG-018", key, f"{name!r} is missing {where}", of_key=True)
    text = mistake["msg"].removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    return layered.problem("CFG-019", key, f"{name}: {text}" if name else text)


def _at(data: Any, key: Key) -> Any:
    for part in key:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _one_inside_the_other(one: Key, other: Key) -> bool:
    """True also for a rule about a whole part of which one value is not there."""
    return all(mine == theirs for mine, theirs in zip(one, other, strict=False))


def _fields_at(model: type[Any], key: Key) -> list[str]:
    current: Any = model
    for part in key:
        info = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        kinds = (info.annotation, *typing.get_args(info.annotation)) if info else ()
        current = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
    return list(current.model_fields) if hasattr(current, "model_fields") else []
