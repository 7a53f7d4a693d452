"""Writes a payload as its one canonical JSON text, the text that is hashed, and reads it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .errors import InvalidPayload, UnknownFamily
from .family import Family, family_of, find_family
from .freeze import freeze_model
from .payload import Opaque, Payload

MAX_DIGITS = 4300
"""Digits of an integer that can be read back: Python's own limit."""

_DIGITS = b"0123456789"
_SMALL = 1_000
"""Bytes under which no limit can be met but a class's own, which is looked at then."""


def encode(payload: Payload, family: Family) -> bytes:
    """Freezes the payload and returns its one canonical JSON text.

    Raises:
        InvalidPayload: it cannot be written as JSON, holds NaN or infinity, is nested too deeply or is too large.
    """
    plain = family.plain
    if plain is not None and [*map(type, payload.__dict__.values())] == plain:  # pydantic need not look for other types
        try:
            raw = family.to_json(payload)
        except (PydanticSerializationError, ValueError):
            return _encode(payload, family)  # it says what is wrong
        if len(raw) <= _SMALL <= family.max_bytes and b"NaN" not in raw and b"Infinity" not in raw:
            given = payload.__pydantic_fields_set__
            if given is not family.all_given and len(given) == family.fields:
                object.__setattr__(payload, "__pydantic_fields_set__", family.all_given)  # see below
            return raw
    return _encode(payload, family)


def _encode(payload: Payload, family: Family) -> bytes:
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
    if len(payload.__dict__) != family.fields:
        raise InvalidPayload(family.name, "lacks a field; make it by its class, not by model_construct")
    given = payload.__pydantic_fields_set__
    if len(given) == family.fields and given is not family.all_given:
        # Each payload brings a set of the fields that it was given, mostly all of them: one set for all is enough, and
        # a third less for Python's collector to look at.
        object.__setattr__(payload, "__pydantic_fields_set__", family.all_given)
    if len(raw) > family.max_bytes:
        raise InvalidPayload(
            family.name, f"takes {len(raw):,} bytes, over its limit of {family.max_bytes:,}. "
            f"Keep large content elsewhere and its address here, or raise max_bytes=… on the class"
        )  # fmt: skip
    if b"NaN" in raw or b"Infinity" in raw:  # possibly inside a text: look closer only then
        _refuse_numbers(raw, family.name)
    if len(raw) > MAX_DIGITS and _has_long_number(raw):  # the same
        _refuse_numbers(raw, family.name)
    return raw


def _has_long_number(raw: bytes) -> bool:
    """Tells whether so many digits stand in a row that Python would not read them back.

    So long a row covers one of the places that are looked at; there the row is measured to both sides.
    """
    step = MAX_DIGITS + 1
    for place in range(MAX_DIGITS, len(raw), step):
        if raw[place] in _DIGITS:
            before, behind = raw[place - MAX_DIGITS : place], raw[place : place + step]
            left = len(before) - len(before.rstrip(_DIGITS))
            if left + len(behind) - len(behind.lstrip(_DIGITS)) > MAX_DIGITS:
                return True
    return False


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
