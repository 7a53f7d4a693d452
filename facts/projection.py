"""Describes what is learned from facts: a fold over committed facts of given families, with one value for each id."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from .canonical import decode, encode
from .errors import FactError, InvalidPayload, LogError, shown
from .fact import Fact, check_id, printable
from .family import family_of
from .names import names_around
from .payload import Opaque, Payload

V = TypeVar("V", bound=Payload)

Fold = Callable[[V | None, Fact[Any]], V | None]
By = Callable[[Fact[Any]], str | Iterable[str] | None]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class ProjectionError(FactError):
    """A projection cannot be used as it is written, or is asked for where it is not known."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"projection {name!r}: {problem}")


class FoldFailed(LogError):
    """A projection could not fold a fact."""

    def __init__(self, projection: str, run: str, seq: int, ref: str, problem: str) -> None:
        self.projection, self.run, self.seq, self.ref, self.problem = projection, run, seq, ref, problem
        super().__init__(
            f"projection {projection!r} could not fold {ref} (run {run}, event {seq}): {problem}. The log has the fact "
            f"and takes more; the values stand as they were before it. Mend the fold and open the log again: it goes "
            f"on from there"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Projection(Generic[V]):
    """A fold over committed facts, kept beside a log; `@projection` makes one of a function.

    Called like the function, it does what the function does.
    """

    name: str
    reads: tuple[type[Payload], ...]
    value: type[V]
    by: By
    version: str
    fold: Fold[V]
    families: tuple[str, ...] = field(init=False)
    """The names of the families that it reads, sorted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "families", tuple(sorted({family_of(cls).name for cls in self.reads})))

    def __call__(self, before: V | None, fact: Fact[Any]) -> V | None:
        return self.fold(before, fact)

    @property
    def value_family(self) -> str:
        return family_of(self.value).name

    def ids_of(self, fact: Fact[Any]) -> tuple[str, ...]:
        """Returns the ids of the values that a fact counts for, each once."""
        said = self.by(fact)
        if said is None:
            return ()
        ids = (said,) if isinstance(said, str) else tuple(dict.fromkeys(said))
        for id in ids:
            check_id(self.value_family, id)
        return ids

    def step(self, before: bytes | None, fact: Fact[Any]) -> bytes | None:
        """Returns the value behind a fact as bytes, from that before it.

        Every step goes through the bytes: where one batch ends and the next begins must not show in a value.
        """
        known = None if before is None else self.decode(before)
        after = self.fold(known, fact)
        if after is None or after is known:
            return None if after is None else before
        if type(after) is not self.value:
            name = self.value.__name__
            raise TypeError(f"it returned {shown(after)} (a {type(after).__name__}). Return a {name}, or None")
        return self.encode(after)

    def encode(self, value: V) -> bytes:
        """Returns a value as it is kept: the version of its class, a space, its JSON."""
        family = family_of(self.value)
        return b"%d %b" % (family.version, encode(value, family))

    def decode(self, body: bytes) -> V:
        """Returns the value that was kept as `body`."""
        version, _, raw = body.partition(b" ")
        family = family_of(self.value)
        try:
            value = decode(family.name, family.key, int(version), raw)
        except InvalidPayload as error:
            raise ProjectionError(
                self.name,
                f"a value was kept that {self.value.__name__} cannot read: {error.reason}. Give the class another "
                f"version with an upcaster, or the projection another name",
            ) from error
        if isinstance(value, Opaque) or not isinstance(value, self.value):
            raise ProjectionError(
                self.name,
                f"a value was kept by version {int(version)} of family {family.name!r}, which {self.value.__name__} "
                f"(version {family.version}) cannot read. Use the newer code, or give the class an upcaster",
            )
        return value


def projection(
    *,
    reads: Sequence[type[Payload]],
    by: By,
    version: str = "1",
    name: str | None = None,
) -> Callable[[Fold[V]], Projection[V]]:
    """Makes a projection of a function that takes the value before (None at first) and a fact, and returns the next.

    ```python
    class Load(Payload, key="signals"):
        n: int

    @projection(reads=[Plan], by=lambda fact: fact.payload.queue)
    def load(before: Load | None, fact: Fact[Plan]) -> Load:
        return Load(n=(before.n if before else 0) + 1)

    log.register(load)
    log.values(load)["billing"].n                                         # 1
    ```

    `by` names the value that a fact counts for: an id, several, or None for none. Returning None takes the value
    away. The function has to be pure: what it returns may depend on nothing but what it is given. Give it another
    `version` whenever it would return something else, and the values are folded anew.

    Raises:
        ProjectionError: it cannot be used as it is written.
    """

    def make(fold: Fold[V]) -> Projection[V]:
        return _make(fold, reads, by, version, name)

    return make


def _make(fold: Fold[V], reads: Sequence[type[Payload]], by: By, version: str, name: str | None) -> Projection[V]:
    name = name if name is not None else getattr(fold, "__name__", "?")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ProjectionError(
            str(name), 'that is no name (letters, digits, "_", ".", "-"; up to 100). Write: @projection(name="…", …)'
        )
    if not callable(fold):
        raise ProjectionError(name, f"{shown(fold)} is not a function")
    if inspect.iscoroutinefunction(fold) or inspect.isgeneratorfunction(fold) or inspect.isasyncgenfunction(fold):
        raise ProjectionError(name, "a fold is a plain function that returns a value. Write it without async or yield")
    if not callable(by):
        raise ProjectionError(name, f"by={shown(by)} is no function. Write: by=lambda fact: fact.id")
    if not isinstance(version, str) or not version or printable(version) != version:
        raise ProjectionError(name, f'version={shown(version)} is no text. Write: version="1"')
    classes = _classes(name, reads)
    hints = _hints(fold, name)
    _check_parameters(fold, name, classes, hints)
    value = _value(name, hints)
    if family_of(value).name in {family_of(cls).name for cls in classes}:
        raise ProjectionError(
            name,
            f"it reads {value.__name__}, which it also returns: log.context() says its values as facts, and they would "
            f"be folded again. Return another class",
        )
    return Projection(name, classes, value, by, version, fold)


def _classes(name: str, reads: Sequence[type[Payload]]) -> tuple[type[Payload], ...]:
    if isinstance(reads, type):
        raise ProjectionError(name, f"reads={reads.__name__} is one class, not a list. Write: reads=[{reads.__name__}]")
    if not isinstance(reads, Sequence) or isinstance(reads, str) or not reads:
        raise ProjectionError(name, f"reads={shown(reads)} names no payload class. Write: reads=[…]")
    for cls in reads:
        _check_payload(name, f"reads={shown(cls)}", cls)
    return tuple(dict.fromkeys(reads))


def _hints(fold: Fold[V], name: str) -> Mapping[str, Any]:
    try:
        return get_type_hints(fold, localns=names_around(fold))
    except NameError as error:
        raise ProjectionError(
            name, f"its annotation {error.name!r} cannot be resolved. Import it where the projection is defined"
        ) from error
    except (TypeError, AttributeError, SyntaxError) as error:
        raise ProjectionError(name, f"its annotations cannot be read: {error}") from error


def _check_parameters(
    fold: Fold[V], name: str, reads: tuple[type[Payload], ...], hints: Mapping[str, Any]
) -> None:  # fmt: skip
    parameters = list(inspect.signature(fold).parameters.values())
    plain = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(parameters) != 2 or len(plain) != 2:
        raise ProjectionError(
            name,
            f"it takes ({', '.join(map(str, parameters))}). A fold takes two things, the value before and a fact: "
            f"def {name if name.isidentifier() else 'fold'}(before: … | None, fact: Fact[…]) -> …",
        )
    hint = hints.get(plain[1].name)
    if get_origin(hint) is Fact:
        for cls in _parts(get_args(hint)[0]):
            if isinstance(cls, type) and issubclass(cls, Payload) and cls not in reads and cls.__family__ is not None:
                listed = ", ".join(one.__name__ for one in (*reads, cls))
                raise ProjectionError(
                    name, f"its fact is a Fact[{cls.__name__}], which it does not read. Write: reads=[{listed}]"
                )


def _value(name: str, hints: Mapping[str, Any]) -> type[Any]:
    """Returns the payload class in the return annotation."""
    if "return" not in hints:
        raise ProjectionError(
            name, "its return annotation is missing; it says what is kept. Write: -> Posterior, with your payload class"
        )
    found = [part for part in _parts(hints["return"]) if part is not type(None)]
    if len(found) != 1:
        raise ProjectionError(
            name, f"it returns {shown(hints['return'])}. Return one payload class: -> Posterior, or -> Posterior | None"
        )
    _check_payload(name, f"its return annotation {shown(found[0])}", found[0])
    value: type[Any] = found[0]
    return value


def _check_payload(name: str, what: str, cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Payload)):
        raise ProjectionError(name, f"{what} is no payload class. Derive it from Payload")
    if cls.__family__ is None:
        raise ProjectionError(name, f'{what} has no key. Write: class {cls.__name__}(Payload, key="signals")')


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
