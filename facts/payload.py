"""Describes what can be known: payload classes, their families, and the registry that reads them back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .errors import InvalidPayload, PayloadDefinitionError, UnknownFamily
from .freeze import freeze_model, is_frozen

OnConflict = Literal["contest", "stop", "confidence"]
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Bytes of JSON that one payload may take, unless its class says `max_bytes=…`."""

MAX_DIGITS = 4300
"""Digits of an integer that can be read back: Python's own limit."""

_DIGITS = re.compile(rb"[0-9]+")
_FAMILY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


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
    joins: bool
    """The class defines `join`: its facts can be revised."""
    mutable: bool
    """Some field can hold a list, dict or set: payloads are frozen before they become facts."""
    unordered: bool
    """Some field has no order of its own (dict, set, Any): its JSON is sorted before it is hashed."""
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


class Payload(BaseModel):
    """What a fact says: a frozen pydantic model that is the schema *and* the address.

    ```python
    class Ticket(Payload, key="seeds"):                                # family "ticket", version 1
        text: str
    ```

    `key` is the section of the blackboard; a class without one (its own or an inherited one) is a base for others and
    cannot become a fact. `family` defaults to the class name in kebab case. Unknown fields, NaN and infinity are
    refused. Define `join(self, other) -> Self` (commutative, associative, idempotent; see
    `quiesce.facts.testing.check_join`) to let facts be revised.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_bytes="base64", val_json_bytes="base64",
        ser_json_inf_nan="constants",
    )  # fmt: skip
    __family__: ClassVar[Family | None] = None

    def __init_subclass__(
        cls,
        key: str | None = None,
        family: str | None = None,
        version: int = 1,
        on_conflict: OnConflict = "contest",
        max_bytes: int = MAX_PAYLOAD_BYTES,
        **kwargs: Any,
    ) -> None:
        """Takes the class keywords; the class is registered once pydantic has built its schema."""
        super().__init_subclass__(**kwargs)

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        key: str | None = None,
        family: str | None = None,
        version: int = 1,
        on_conflict: OnConflict = "contest",
        max_bytes: int = MAX_PAYLOAD_BYTES,
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        inherited = cls.__family__
        cls.__family__ = None
        key = key if key is not None else inherited.key if inherited else None
        if key is None:
            if family is not None:
                raise PayloadDefinitionError(cls.__qualname__, f'family={family!r} without a key. Add one: key="seeds"')
            return
        name = family if family is not None else _kebab(cls.__name__)
        _check_definition(cls, key, name, version, on_conflict, max_bytes)
        mutable, unordered = _inspect(cls)
        cls.__family__ = Family(
            name, key, version, cls, on_conflict, max_bytes, cls.join is not Payload.join, mutable, unordered
        )
        _register(cls.__family__)

    def join(self, other: Self) -> Self:  # noqa: ARG002  the name that overriding classes use
        """Returns the least upper bound of both; a class that defines it makes its facts revisable."""
        raise TypeError(f"{type(self).__name__} defines no join")

    @classmethod
    def upcast(cls, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Registers how data of an older version is brought up to date, so that old logs stay readable.

        The function takes the JSON object of `from_version` and returns that of the next version that has an upcaster,
        or of the present one.
        """
        own = family_of(cls)
        if not 0 < from_version < own.version:
            raise PayloadDefinitionError(
                cls.__qualname__, f"upcast(from_version={from_version}) is not below its version, {own.version}"
            )

        def keep(upcaster: Upcaster) -> Upcaster:
            own.upcasters[from_version] = upcaster
            return upcaster

        return keep


@dataclass(frozen=True, slots=True)
class Address:
    """Where a payload of an unregistered class belongs."""

    name: str
    key: str
    version: int


class Opaque(BaseModel):
    """The payload of a family that this process does not know; its bytes are kept as they are."""

    model_config = ConfigDict(frozen=True)
    family: str
    key: str
    version: int
    raw: bytes

    @property
    def __family__(self) -> Address:
        return Address(self.family, self.key, self.version)


P = TypeVar("P", bound=Payload)

_families: dict[str, dict[int, Family]] = {}


def family_of(cls: type[Payload]) -> Family:
    """Returns the family of a payload class.

    Raises:
        PayloadDefinitionError: the class has no key, so it is a base for others and not a family.
    """
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


def encode(payload: Payload, family: Family) -> bytes:
    """Freezes the payload and returns its one canonical JSON text.

    Raises:
        InvalidPayload: it cannot be written as JSON, holds NaN or infinity, is nested too deeply or is too large.
    """
    try:
        if family.mutable:
            freeze_model(payload)
        raw: bytes = (
            _canonical(payload)
            if family.unordered
            else payload.__pydantic_serializer__.to_json(payload, warnings="error")
        )
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise InvalidPayload(family.name, f"cannot be written as JSON: {error}") from error
    if len(raw) > family.max_bytes:
        raise InvalidPayload(
            family.name, f"takes {len(raw):,} bytes, over its limit of {family.max_bytes:,}. "
            f"Keep large content elsewhere and its address here, or raise max_bytes=… on the class"
        )  # fmt: skip
    if b"NaN" in raw or b"Infinity" in raw:  # possibly inside a text: look closer only then
        _refuse_numbers(raw, family.name)
    if len(raw) > MAX_DIGITS and len(max(_DIGITS.findall(raw), key=len, default=b"")) > MAX_DIGITS:  # the same
        _refuse_numbers(raw, family.name)
    return raw


def payload_bytes(payload: Payload | Opaque) -> bytes:
    """Returns the JSON text of a payload that is part of a fact: the text that its digest was made of."""
    if isinstance(payload, Opaque):
        return payload.raw
    return encode(payload, family_of(type(payload)))


def digest_of(raw: bytes) -> bytes:
    """Returns the SHA-256 of a payload's canonical text."""
    return sha256(raw).digest()


def decode(name: str, key: str, version: int, raw: bytes) -> Payload | Opaque:
    """Returns the payload that was written as `raw`; an Opaque one if its family is not registered here.

    Raises:
        InvalidPayload: the family is known and the bytes do not fit it.
    """
    try:
        family = find_family(name, version)
    except UnknownFamily:
        return Opaque(family=name, key=key, version=version, raw=raw)
    try:
        payload = family.read(version, raw)
        return freeze_model(payload) if family.mutable else payload
    except Exception as error:  # upcasters and validators are users' functions: they can raise anything
        raise InvalidPayload(name, f"version {version} cannot be read: {error}") from error


def _canonical(payload: BaseModel) -> bytes:
    ordered = _ordered(payload.model_dump(mode="python", warnings="error"))
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _ordered(value: Any) -> Any:
    """Returns JSON data in which whatever had no order of its own is sorted."""
    if isinstance(value, Mapping):
        jsonable = {_json_key(key): _ordered(item) for key, item in value.items()}
        if len(jsonable) != len(value):
            raise ValueError(f"two keys of a dict are the same in JSON: {', '.join(map(repr, value)):.100}")
        return dict(sorted(jsonable.items()))
    if isinstance(value, (set, frozenset)):
        return sorted((_ordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in value]
    return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="constants")


def _json_key(key: Any) -> str:
    plain = next(iter(to_jsonable_python({key: None})))
    return plain if isinstance(plain, str) else json.dumps(plain)


def _refuse_numbers(raw: bytes, family: str) -> None:
    def refuse(constant: str) -> None:
        raise InvalidPayload(family, f"holds {constant}, which is not a finite number")

    def read(digits: str) -> None:
        if len(digits.lstrip("-")) > MAX_DIGITS:
            raise InvalidPayload(
                family, f"holds an integer of more than {MAX_DIGITS:,} digits, too many to be read back"
            )

    json.loads(raw, parse_constant=refuse, parse_int=read)


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower().strip("_").replace("_", "-")


def _check_definition(
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


def _register(family: Family) -> None:
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


# What pydantic's core schema calls the types whose values cannot change and whose JSON has one order.
_PLAIN = frozenset({
    "str", "int", "float", "bool", "none", "literal", "enum", "date", "time", "datetime", "timedelta", "bytes", "uuid",
    "url", "multi-host-url", "decimal",
})  # fmt: skip
_WRAPPERS = frozenset({"nullable", "default", "model-fields", "model-field", "tuple", "union", "tagged-union", "chain"})


def _inspect(cls: type[Payload]) -> tuple[bool, bool]:
    """Tells whether a payload class can hold something that can change, and something without an order."""
    schema = cls.__pydantic_core_schema__
    if not isinstance(schema, dict):  # still waiting for a forward reference: assume the worst
        return True, True
    mutable = unordered = False
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        kind = node.get("type")
        if kind in _PLAIN:
            continue
        if kind == "list":
            mutable = True
        elif kind == "model":
            _check_frozen(cls, node["cls"])
        elif kind == "dataclass":
            _check_frozen(cls, node["cls"])
            mutable = unordered = True
        elif kind not in _WRAPPERS:
            mutable = unordered = True
        pending.extend(_children(node))
    return mutable, unordered


def _children(node: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for name in ("schema", "items_schema", "keys_schema", "values_schema"):
        child = node.get(name)
        found.extend(child if isinstance(child, list) else [child] if isinstance(child, dict) else [])
    for name in ("fields", "choices", "steps", "definitions"):
        children = node.get(name, ())
        found.extend(children.values() if isinstance(children, dict) else children)
    return [child[0] if isinstance(child, tuple) else child for child in found if isinstance(child, (dict, tuple))]


def _check_frozen(owner: type[Payload], held: type) -> None:
    if not is_frozen(held):
        name = held.__name__
        frozen = f"class {name}(BaseModel, frozen=True)" if issubclass(held, BaseModel) else "@dataclass(frozen=True)"
        raise PayloadDefinitionError(
            owner.__qualname__, f"it holds a {name}, whose fields can be changed. Write: {frozen}"
        )
