"""A TOML file and the environment, checked against a pydantic model: one error for all mistakes.

The environment goes before the file: `TACITA_PARTY__LIMITS__ROUND=5` sets `round` of `[limits]` of
party.toml, two underscores for each step. Lists are written as JSON. A variable that begins with
the prefix and names no field is a mistake as well. Relative paths, also those of the environment,
count from the folder of the file; validators find it in their context under `FOLDER`.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from tacita.errors import ConfigError

FOLDER = "folder"
STEP = "__"
LARGEST_FILE = 1 << 20  # bytes
LONGEST_QUOTE = 60  # characters of a wrong value in an error


class Section(BaseModel):
    """Part of a settings file. Fields that it does not have are mistakes; values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True
    )


Settings = TypeVar("Settings", bound=Section)


def load(model: type[Settings], path: Path, prefix: str) -> Settings:
    """The settings in `path` and in variables that begin with `prefix`, such as TACITA_PARTY__.

    Raises ConfigError: file, field or variable, what is wrong, and what would be right.
    """
    written = read_toml(path)
    given = _environment(model, prefix)
    try:
        return model.model_validate(
            _merged(written, given), context={FOLDER: path.absolute().parent}
        )
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise complaint(path, [_mistake(model, each, prefix, given) for each in found]) from None


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises ConfigError where it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}; write it, or correct the path") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigError(f"{path} has more than {LARGEST_FILE} bytes; it is no settings file")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8; write it as TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested deeper than any settings are") from None


def check(model: type[Settings], path: Path, data: dict[str, Any]) -> Settings:
    """`data`, which was read from `path`, as a model; no environment. Raises ConfigError."""
    try:
        return model.model_validate(data, context={FOLDER: path.absolute().parent})
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise complaint(path, [_mistake(model, each, "", {}) for each in found]) from None


def complaint(path: Path, mistakes: list[str]) -> ConfigError:
    if len(mistakes) == 1:
        return ConfigError(f"{path}: {mistakes[0]}")
    return ConfigError(f"{path} has {len(mistakes)} mistakes:\n  " + "\n  ".join(mistakes))


# ---- the environment -----------------------------------------------------------------------------


def _environment(model: type[Section], prefix: str) -> dict[str, Any]:
    for variable in os.environ:
        if variable.upper().startswith(prefix):
            first = variable[len(prefix) :].partition(STEP)[0].lower()
            if first not in model.model_fields:
                raise ConfigError(
                    f"environment variable {variable}: {_no_such_field(first, model)}"
                )
    source = EnvSettingsSource(
        # It reads nothing of the class but its fields.
        cast(type[BaseSettings], model),
        case_sensitive=False,
        env_prefix=prefix,
        env_nested_delimiter=STEP,
        env_ignore_empty=False,
    )
    try:
        return source()
    except SettingsError as error:
        raise ConfigError(
            f"an environment variable {prefix}…: {error}; write lists and tables as JSON"
        ) from None


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


# ---- errors in words -----------------------------------------------------------------------------


def _mistake(
    model: type[Section], error: ErrorDetails, prefix: str, given: Mapping[str, Any]
) -> str:
    place = tuple(each for each in error["loc"] if not str(each).startswith("function-"))
    around, field = _field(model, place)
    steps = [str(each) for each in place]
    where = ".".join(steps)
    if steps and _among(given, place):
        where = f"environment variable {prefix}{STEP.join(steps).upper()}"
    if error["type"] == "extra_forbidden":
        return f"{where}: {_no_such_field(steps[-1], around)}"
    right = f"; right is: {field.description}" if field and field.description else ""
    if error["type"] == "missing":
        return f"{where} is missing{right}"
    what = error["msg"].removeprefix("Value error, ")
    if not steps:
        return what
    value = error["input"]
    # What stands in a whole table would fill the screen; a secret must not get into a log.
    if not isinstance(value, Mapping | list | BaseModel) and not (field and _secret(field)):
        quote = repr(value)
        if quote not in what:
            cut = quote if len(quote) <= LONGEST_QUOTE else f"{quote[:LONGEST_QUOTE]}…"
            what = f"{what}, not {cut}"
    return f"{where}: {what}{right}"


def _no_such_field(name: str, model: type[BaseModel] | None) -> str:
    fields = list(model.model_fields) if model else []
    close = difflib.get_close_matches(name, fields, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(fields)}"
    return f"there is no such field; {hint}" if fields else "there is no such field"


def _field(
    model: type[BaseModel], place: tuple[int | str, ...]
) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The innermost section around `place`, and the field there."""
    around: type[BaseModel] | None = model
    field = None
    for step in place:
        if isinstance(step, int):
            continue
        inner = _section(field) if field else around
        if inner is None or step not in inner.model_fields:
            return inner or around, None
        around, field = inner, inner.model_fields[step]
    return around, field


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a field's value is an instance of, in a list or not."""
    annotations = [field.annotation, *field.metadata, *get_args(field.annotation)]
    for each in annotations:
        model = getattr(each, "written_as", each)
        if isinstance(model, type) and issubclass(model, BaseModel):
            return model
    return None


def _secret(field: FieldInfo) -> bool:
    kinds: list[Any] = [field.annotation]
    while kinds:
        kind = kinds.pop()
        if kind is SecretStr:
            return True
        kinds.extend(get_args(kind))
    return False


def _among(given: Mapping[str, Any], place: tuple[int | str, ...]) -> bool:
    inner: object = given
    for step in place:
        if not isinstance(inner, Mapping) or step not in inner:
            return False
        inner = inner[step]
    return True
