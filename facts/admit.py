"""Lets raw JSON in from outside: what is valid becomes a fact, what is not becomes a Malformed fact."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .diagnostics import Malformed
from .errors import FactError, UnknownFamily
from .fact import MAX_ID_BYTES, Fact, check_id, content_id, printable
from .family import Family, find_family
from .payload import Payload

if TYPE_CHECKING:
    from .context import Context


def admit(context: Context, family: str, id: str | None, raw: bytes | str, by: str) -> Fact[Any]:
    """Returns the fact that raw JSON became: one of the family, or a Malformed one that keeps the bytes."""
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)
    try:
        found = find_family(str(family))
        if id is not None:
            check_id(found.name, id)
        return context.add(_read(found, data), id, by=by)
    except Exception as error:  # noqa: BLE001  a payload class may bring validators: whatever they raise is about the content
        reason = _describe(error)
    malformed = Malformed(family=printable(family), id=printable(id), reason=reason, raw=data)
    return context.add(malformed, _id_of(malformed), by=by)


def _read(family: Family, data: bytes) -> Payload:
    if len(data) > family.max_bytes:
        raise ValueError(f"takes {len(data):,} bytes, over the limit of {family.max_bytes:,} for {family.name!r}")
    return family.cls.model_validate_json(data)


def _describe(error: Exception) -> str:
    if isinstance(error, UnknownFamily):  # without the list of what is known: it differs from process to process
        return f"family {error.family!r:.100} is not registered"
    if isinstance(error, (FactError, ValueError)) and not isinstance(error, ValidationError):
        return printable(error)
    if not isinstance(error, ValidationError):
        return printable(f"{type(error).__name__}: {error}")
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"


def _id_of(malformed: Malformed) -> str:
    """Returns "<family>:<id>", shortened to its hash where it is too long; for no id stands the hash of the bytes."""
    name = f"{malformed.family}:{malformed.id or content_id(sha256(malformed.raw).digest())}"
    if len(name.encode()) <= MAX_ID_BYTES:
        return name
    return f"{name[:64]}…{sha256(name.encode()).hexdigest()[:24]}"
