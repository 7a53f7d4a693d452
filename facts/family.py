"""Knows the families: which payload class reads what, under which rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .errors import FactError, PayloadDefinitionError, UnknownFamily

if TYPE_CHECKING:
    from .payload import Payload

OnConflict = Literal["contest", "stop", "confidence"]
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Bytes of JSON that one payload may take, unless its class says `max_bytes=…`."""

_FAMILY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _unset(payload: Payload) -> bytes:
    raise AssertionError(f"{payload!r} is not plain")


@dataclass(slots=True, eq=False)
class Family:
    """The address and the rules of one payload class; made when the class is defined."""

    name: str
    """Unique among the registered families, for one version; the part of a ref before the colon."""
    key: str
    """The section of the blackboard."""
    version: int
    cls: type[Payload]
    on_conflict: OnConflict
    max_bytes: int
    fields: int
    """How many fields a payload has."""
    all_given: set[str]
    """The names of its fields: what a payload that was given all of them says it was given."""
    joins: bool
    """The class defines `join`: its facts can be revised."""
    mutable: bool
    """Some field can hold a list, dict or set: payloads are frozen before they become facts."""
    unordered: bool
    """Some field has no order of its own (dict, set, Any): its JSON is sorted before it is hashed."""
    plain: list[type[Any]] | None = None
    """The types of its fields, in order, where each is int, str, float or bool and has no serializer of its own."""
    to_json: Callable[[Payload], bytes] = _unset
    """Writes a payload of exactly these types. To have pydantic look for others takes several times as long."""
    upcasters: dict[int, Upcaster] = field(default_factory=dict)

    def read(self, version: int, raw: bytes) -> Payload:
        """Returns the payload that was written as `raw` by this or an older version of the class."""
        if version == self.version:
            return self.cls.model_validate_json(raw)
        data = json.loads(raw)
        for old in sorted(old for old in self.upcasters if old >= version):
            data = self.upcasters[old](data)
        return self.cls.model_validate(data)

    def can_read(self, version: int) -> bool:
        return version == self.version or (version < self.version and version in self.upcasters)


_families: dict[str, dict[int, Family]] = {}


def family_of(cls: type[Payload]) -> Family:
    """Returns the family of a payload class.

    Raises:
        PayloadDefinitionError: the class has no key, so it is a base for others and not a family.
    """
    if not (isinstance(cls, type) and hasattr(cls, "__family__")):
        raise FactError(f"a payload class is asked for, not {cls!r:.80}")
    family = cls.__family__
    if family is None:
        raise PayloadDefinitionError(cls.__qualname__, 'it has no key. Add one: class …(Payload, key="seeds")')
    return family


def find_family(name: str, version: int | None = None) -> Family:
    """Returns the registered family that reads this version; the newest one when no version is given.

    Raises:
        UnknownFamily: nothing registered reads it.
    """
    versions = _families.get(name)
    if not versions:
        raise UnknownFamily(name, version, tuple(sorted(_families)))
    if version is None:
        return versions[max(versions)]
    if version in versions:
        return versions[version]
    for family in sorted(versions.values(), key=lambda family: -family.version):
        if family.can_read(version):
            return family
    raise UnknownFamily(name, version, tuple(f"{name}@{known}" for known in sorted(versions)))


def name_of_class(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower().strip("_").replace("_", "-")


def check_definition(
    cls: type[Payload], key: str, name: str, version: int, on_conflict: str, max_bytes: int
) -> None:  # fmt: skip
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise PayloadDefinitionError(cls.__qualname__, f"key {key!r} is not a name (letters, digits, '_', '.', '-')")
    if not isinstance(name, str) or not _FAMILY.fullmatch(name):
        raise PayloadDefinitionError(
            cls.__qualname__, f"family {name!r} is not a lower-case name (letters, digits, '_', '.', '-')"
        )
    if type(version) is not int or version < 1:
        raise PayloadDefinitionError(cls.__qualname__, f"version {version!r} is not a whole number from 1")
    if on_conflict not in ("contest", "stop", "confidence"):
        raise PayloadDefinitionError(
            cls.__qualname__, f'on_conflict {on_conflict!r} is not one of "contest", "stop", "confidence"'
        )
    if type(max_bytes) is not int or max_bytes < 1:
        raise PayloadDefinitionError(cls.__qualname__, f"max_bytes {max_bytes!r} is not a positive whole number")


def register(family: Family) -> None:
    versions = _families.setdefault(family.name, {})
    present = versions.get(family.version)
    cls = family.cls
    if present is not None and (present.cls.__module__, present.cls.__qualname__) != (cls.__module__, cls.__qualname__):
        raise PayloadDefinitionError(
            cls.__qualname__,
            f"family {family.name!r} version {family.version} is already that of "
            f"{present.cls.__module__}.{present.cls.__qualname__}. Give one of them family=… or version=…",
        )
    for other in versions.values():
        if other.key != family.key:
            raise PayloadDefinitionError(
                cls.__qualname__,
                f"key {family.key!r} differs from that of version {other.version} of {family.name!r}, {other.key!r}",
            )
    versions[family.version] = family  # the same class again (a notebook cell run twice) replaces itself
