"""Holds a view to what it promises: the declared reads as of the end of the previous cycle, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from quiesce.facts import Context, FactError, Malformed, UndeclaredRead
from support.payloads import STARTED, Answer, Note, Tags, note_fact, notes, view_of


def grown() -> Context:
    """Returns a context with one note in each of the cycles 0 to 3, and a fact that was revised in each."""
    context = Context()
    for cycle in range(4):
        context._shelf_of("facts-note", "seeds").append(note_fact(f"n{cycle}", cycle=cycle))
        context._trail.cycle = cycle - 1
        context.add(Tags(names=frozenset({f"t{cycle}"})), id="t")
    return context


@pytest.mark.parametrize("cycle", range(6))
def test_a_view_shows_what_was_known_at_the_end_of_the_previous_cycle(cycle: int) -> None:
    view = view_of(grown(), cycle, (Note, Tags))
    known = [f"n{n}" for n in range(min(cycle, 4))]
    tags = frozenset(f"t{n}" for n in range(min(cycle, 4)))

    assert known == [fact.id for fact in view.all(Note)] == [fact.id for fact in view.new(Note)]
    assert [view.get(Note, id) is not None for id in ("n0", "n2", "n3")] == [id in known for id in ("n0", "n2", "n3")]
    assert ([tags] if cycle else []) == [fact.payload.names for fact in view.all(Tags)]
    assert list(view.all(Tags)) == [fact for fact in [view.get(Tags, "t")] if fact is not None]
    assert view.find("facts-note:n1") == view.get(Note, "n1")


def test_new_is_what_came_since_the_suggestor_last_ran() -> None:
    view = view_of(grown(), 4, (Note, Tags), since={"facts-note": 2, "facts-tags": 3})

    assert ["n2", "n3"] == [fact.id for fact in view.new(Note)]
    assert [frozenset({"t0", "t1", "t2", "t3"})] == [fact.payload.names for fact in view.new(Tags)]
    assert [] == list(view_of(grown(), 4, (Note,), since={"facts-note": 4}).new(Note))


def test_a_view_does_not_change_when_more_is_promoted() -> None:
    context = grown()
    view = view_of(context, 4, (Note,))
    shown = view.all(Note)
    context._shelf_of("facts-note", "seeds").append(note_fact("n4", cycle=4))

    assert [f"n{n}" for n in range(4)] == [fact.id for fact in shown] == [fact.id for fact in view.all(Note)]
    assert view.get(Note, "n4") is None


@pytest.mark.parametrize("ask", ["new", "all", "get", "find"])
@pytest.mark.parametrize(
    ("reads", "declared", "add"),
    [((Note,), "Note", "Note, {}"), ((Note, Tags), "Note, Tags", "Note, Tags, {}"), ((), "", "{}")],
)
def test_reading_what_was_not_declared_names_the_line_to_add(ask: str, reads: Any, declared: str, add: str) -> None:
    view = view_of(notes("a"), 3, reads, suggestor="plan")
    with pytest.raises(UndeclaredRead) as caught:
        view.find("facts-answer:a") if ask == "find" else getattr(view, ask)(Answer, *(["a"] if ask == "get" else []))

    asked = "'facts-answer'" if ask == "find" else "Answer"
    expected = (
        f"suggestor 'plan' read {asked} in cycle 3, but declares reads=[{declared}]. "
        f"Add it: reads=[{add.format(asked)}]"
    )
    assert expected == str(caught.value)


@pytest.mark.parametrize("asked", [str, "Note", Note(text="a"), None])
def test_a_view_is_asked_for_payload_classes(asked: Any) -> None:
    for ask in ("new", "all"):
        with pytest.raises(FactError) as caught:
            getattr(view_of(notes("a"), 1, None), ask)(asked)

        assert f"a view is asked for a payload class, not for {asked!r}" == str(caught.value)


def test_a_view_that_may_read_anything_shows_everything() -> None:
    context = grown()
    context.admit("facts-note", "bad", b"{")
    view = view_of(context, 4, None, since={"facts-note": 3, "facts-tags": 4})

    assert ("facts-note", "facts-tags", "malformed") == view.families()
    assert ["facts-note:n3", "malformed:facts-note:bad"] == [fact.ref for fact in view.new_facts()]
    assert 1 == len(view.all(Malformed))


def test_what_is_handed_out_through_new_and_get_is_noted() -> None:
    """A proposal that names no reasons rests on it; `all` is background."""
    view = view_of(grown(), 4, (Note, Tags))
    list(view.all(Note))
    nothing = view.take_handed()
    view.get(Note, "n1"), view.get(Note, "gone"), view.find("facts-tags:t")
    view.new(Note)[0], view.new(Note)[2:]
    for fact in view.new(Note):
        if fact.id == "n1":
            break

    assert () == nothing
    assert ["n1", "t", "n0", "n2", "n3"] == [ref.partition(":")[2] for ref in view.take_handed()]
    assert () == view.take_handed()


def test_new_without_looking_hands_out_nothing() -> None:
    view = view_of(grown(), 4, (Note,))
    new = view.new(Note)

    assert 4 == len(new)
    assert () == view.take_handed()


def test_what_a_view_says_of_its_moment_depends_on_run_and_invocation_only() -> None:
    one, same = (view_of(notes("a"), 2, (Note,), trigger="facts-note:a") for _ in range(2))
    others = [
        view_of(notes("a"), 3, (Note,), trigger="facts-note:a"),
        view_of(notes("a"), 2, (Note,), trigger="facts-note:b"),
        view_of(notes("a"), 2, (Note,)),
        view_of(notes("a"), 2, (Note,), trigger="facts-note:a", suggestor="other"),
    ]
    drawn = one.rng.integers(2**60)

    assert ("r/reader/2/facts-note:a", STARTED) == (one.invocation, one.now.isoformat())
    assert (one.invocation, drawn) == (same.invocation, same.rng.integers(2**60))
    assert 5 == len({one.invocation, *(other.invocation for other in others)})
    assert drawn not in [other.rng.integers(2**60) for other in others]
    assert drawn != view_of(notes("a"), 2, (Note,), trigger="facts-note:a", seed=2).rng.integers(2**60)
