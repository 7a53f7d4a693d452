"""Describes what can be known: payload classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from .errors import PayloadDefinitionError
from .family import (
    MAX_PAYLOAD_BYTES,
    Family,
    OnConflict,
    Upcaster,
    check_definition,
    family_of,
    name_of_class,
    register,
)
from .schema import inspect_schema, plain_types


class _Said(NamedTuple):
    """What the keywords of a payload class say."""

    key: str | None
    family: str | None
    version: int
    on_conflict: OnConflict
    max_bytes: int


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
    __said__: ClassVar[_Said]

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
        cls.__said__ = _Said(key, family, version, on_conflict, max_bytes)

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        key, family, version, on_conflict, max_bytes = cls.__said__
        inherited = cls.__family__
        cls.__family__ = None
        key = key if key is not None else inherited.key if inherited else None
        if key is None:
            if family is not None:
                raise PayloadDefinitionError(cls.__qualname__, f'family={family!r} without a key. Add one: key="seeds"')
            return
        name = family if family is not None else name_of_class(cls.__name__)
        check_definition(cls, key, name, version, on_conflict, max_bytes)
        mutable, unordered = inspect_schema(cls)
        cls.__family__ = Family(
            name,
            key,
            version,
            cls,
            on_conflict,
            max_bytes,
            len(cls.model_fields),
            set(cls.model_fields),
            _defines_join(cls),
            mutable,
            unordered,
        )
        cls.__family__.plain, cls.__family__.to_json = plain_types(cls), cls.__pydantic_serializer__.to_json
        register(cls.__family__)

    if not TYPE_CHECKING:  # else an override with a narrower `other` would be called a fault by type checkers

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
    """The payload of a family that this process does not know, with its bytes; or what is left of a redacted one."""

    model_config = ConfigDict(frozen=True)
    family: str
    key: str
    version: int
    raw: bytes
    tombstone: str = ""
    """Why it was redacted, by whom and when (JSON); its bytes are empty then."""

    @property
    def __family__(self) -> Address:
        return Address(self.family, self.key, self.version)


P = TypeVar("P", bound=Payload)


def _defines_join(cls: type[Payload]) -> bool:
    join: Any = vars(Payload)["join"]
    return getattr(cls, "join", join) is not join
