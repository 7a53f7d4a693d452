"""Finds out from pydantic's schema what a payload class can hold: something that changes, something without order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from .errors import PayloadDefinitionError
from .freeze import is_frozen

if TYPE_CHECKING:
    from .payload import Payload

# What pydantic's core schema calls the types whose values cannot change and whose JSON has one order.
_PLAIN = frozenset({
    "str", "int", "float", "bool", "none", "literal", "enum", "date", "time", "datetime", "timedelta", "bytes", "uuid",
    "url", "multi-host-url", "decimal",
})  # fmt: skip
_WRAPPERS = frozenset({"nullable", "default", "model-fields", "model-field", "tuple", "union", "tagged-union", "chain"})


def inspect_schema(cls: type[Payload]) -> tuple[bool, bool]:
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


_SCALARS: dict[str, type[Any]] = {"int": int, "str": str, "float": float, "bool": bool}


def plain_types(cls: type[Payload]) -> list[type[Any]] | None:
    """Returns the types of a class's fields, if values of exactly these types are all that its JSON depends on."""
    schema: Any = cls.__pydantic_core_schema__
    if not isinstance(schema, dict) or schema.get("type") != "model" or "serialization" in schema:
        return None
    fields = schema["schema"]
    if fields.get("type") != "model-fields" or fields.get("computed_fields") or "serialization" in fields:
        return None
    found = []
    for field in fields["fields"].values():
        node = field["schema"]
        if node.get("type") == "default" and "serialization" not in node:
            node = node["schema"]
        if node.get("type") not in _SCALARS or "serialization" in node or "serialization" in field:
            return None
        found.append(_SCALARS[node["type"]])
    return found


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
