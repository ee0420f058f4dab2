"""Typed reading of TOML and JSON by msgspec, without conversions of type; errors in our words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, inspect

from common.names import meant
from common.regular_file import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FormT = TypeVar("FormT")
Text = Annotated[str, Meta(pattern=r"\S")]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Meta(ge=0.0, le=sys.float_info.max)]
Positive = Annotated[float, Meta(gt=0.0, le=sys.float_info.max)]

_WORDS = {
    **{"float": "a number", "int": "a whole number", "str": "a text", "bool": "true or false"},
    **{"array": "a list", "object": "a table", r" matching regex '\\S'": " that is not blank"},
    f" <= {sys.float_info.max}": "",
}
_LONGEST = 60
"""Characters of a value in a message."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table without keys but its own: what a user misspells is reported."""


def read_toml(
    path: Path, form: type[FormT], kind: str, error_class: type[Exception], version: object = None
) -> FormT:
    """Read a TOML file of a kind as `convert` does; a whole number may be written `4e9`.

    Another `schema_version` than this, if there is one, is reported before anything else.

    Raises:
        Exception: `error_class`, if it is missing, unreadable, not TOML or of another form.
    """
    try:
        document = tomllib.loads(read_text(path), parse_float=_number)
    except FileNotFoundError:
        raise error_class(f"{kind} {path} does not exist; check the path") from None
    except (OSError, ValueError, RecursionError) as error:
        raise error_class(f"{kind} {path} cannot be read: {error}; correct the file") from None
    try:
        if version is not None and (found := document.get("schema_version", version)) != version:
            raise ValueError(f"schema_version is {shown(found)}; this version reads {version}")
        return convert(document, form)
    except ValueError as error:
        raise error_class(f"{path}: {error}") from None


def convert(document: Any, form: type[FormT], place: str = "") -> FormT:
    """A parsed document, or what is at a place in one, as a `msgspec.Struct` or dataclass.

    Raises:
        ValueError: it is of another form; the message names the key, its value and the remedy. What
            `__post_init__` raises begins with a key, too.
    """
    try:
        return msgspec.convert(document, form)
    except msgspec.ValidationError as error:
        raise ValueError(_sentence(str(error), document, place, form)) from None


def shown(value: object) -> str:
    """A value as a message shows it: tables and lists by their kind, and the rest cut short."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _sentence(told: str, document: Any, start: str, form: Any) -> str:
    """What msgspec reported, in our words; its place is written like `$.devices[1].name`."""
    problem, inside = re.findall(r"(.*?)(?: - at `\$([^`]*)`)?\Z", told, re.DOTALL)[0]
    place = f"{start}{inside}".lstrip(".")
    outer = f"{place}." if place else ""
    try:
        value = reduce(_inside, re.findall(r"[^.\[\]]+", inside), document)
        if lack := re.fullmatch("Object missing required field `(.*)`", problem):
            return f"{outer}{lack[1]} is missing; add it"
        if stray := re.fullmatch("Object contains unknown field `(.*)`", problem, re.DOTALL):
            told = f"{outer}{stray[1]} = {shown(value[stray[1]])} is no known key"
            return told + meant(stray[1], _known_keys(form, re.findall(r"[^.\[\]]+", inside)))
    except (LookupError, TypeError, ValueError):  # a key that looks like a place
        return f"{place}: {problem}"
    if problem == "Number out of range":
        return f"{place} is {shown(value)}; give a smaller number"
    if expected := re.fullmatch("Expected `([^`]*)`(.*?)(?:, got .*)?", problem):
        words = (_WORDS.get(word, word) for word in expected[1].split(" | ") if word != "null")
        wanted = " or ".join(words) + _WORDS.get(expected[2], expected[2].removesuffix(".0"))
        if isinstance(value, float) and not abs(value) <= sys.float_info.max:
            wanted = wanted.replace("a number", "a finite number")
        return f"{place or 'it'} is {shown(value)}; give {wanted}"
    return f"{outer}{problem}"


def _known_keys(form: Any, steps: list[str]) -> list[str]:
    """Keys of the tables that may stand at a place."""
    kinds = [inspect.type_info(form)]
    for step in steps:
        kinds = [inner for kind in kinds for inner in _steps_into(kind, step)]
    fields = [field for kind in _alternatives(kinds) for field in getattr(kind, "fields", ())]
    return list(dict.fromkeys(field.encode_name for field in fields))


def _steps_into(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    for one in _alternatives([kind]):
        yield from (f.type for f in getattr(one, "fields", ()) if f.encode_name == step)
        for name in ("item_type", "value_type"):
            if hasattr(one, name):
                yield getattr(one, name)


def _alternatives(kinds: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    for kind in kinds:
        yield from kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _inside(value: Any, step: str) -> Any:
    return value[int(step) if isinstance(value, list) else step]


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
