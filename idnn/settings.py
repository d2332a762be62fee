"""Settings from TOML files through pydantic: every mistake named by key, rule, value, remedy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


class BadSettings(ValueError):
    """A settings file that breaks a rule."""


class Table(BaseModel):
    """A table of a settings file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Table)


def read_table(path: Path) -> dict[str, Any]:
    """The TOML file at `path`.

    Raises:
        FileNotFoundError: when there is no file.
        BadSettings: when it is not TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no settings file {path}.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not valid TOML: {error}.") from error


def validate(model: type[Model], table: Mapping[str, Any], source: Path) -> Model:
    """`table` as a `model`.

    Raises:
        BadSettings: one clause for each key that is unknown, missing, or breaks its rule.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        clauses = [_clause(model, item) for item in error.errors()]
        raise BadSettings(f"{source}: " + "; ".join(clauses) + ".") from error


def _clause(model: type[BaseModel], item: Any) -> str:  # noqa: ANN401
    keys, known = _walk(model, item["loc"])
    name = ".".join(keys)
    rule = item["msg"].removeprefix("Value error, ")
    rule = rule.replace("a valid tuple", "a list")  # TOML knows no tuples
    rule = rule.replace("tuple", "list").replace("Tuple", "List")
    if item["type"] == "extra_forbidden":
        return f"`{name}` is not a known key{_suggestion(keys[-1], known)}"
    if item["type"] == "missing":
        return f"`{name}` is missing; add it"
    if not keys or rule.startswith(f"`{name}."):
        return rule
    value = item["input"]
    shown = "" if isinstance(value, Mapping) else f"; it is {value!r}"
    return f"`{name}`: {rule[0].lower()}{rule[1:]}{shown}"


def _walk(model: type[BaseModel], location: Iterable[Any]) -> tuple[list[str], set[str]]:
    """The keys of `location` without union tags, and the keys known beside the last one."""
    models, keys, known = {model}, [], set(model.model_fields)
    for step in location:
        fields = {name: f for m in models for name, f in m.model_fields.items()}
        if isinstance(step, str) and step in fields:
            keys.append(step)
            known = set(fields)
            models = set(_models(fields[step].annotation)) or models
        elif isinstance(step, int):
            keys.append(str(step))
        elif not _is_tag(step, models):
            keys.append(str(step))
            known = set(fields)
    return keys, known


def _models(annotation: Any) -> Iterable[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_tag(step: Any, models: Iterable[type[BaseModel]]) -> bool:  # noqa: ANN401
    """Whether `step` names a member of a discriminated union rather than a key."""
    literals = [get_args(f.annotation) for m in models for f in m.model_fields.values()]
    return any(step in values for values in literals)


def _suggestion(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {sorted(known)}"
