"""Holds what type checkers are told of options to what the methods take that the options are handed to."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from quiesce.engine import Engine, keywords

TWINS = [
    (Engine.run, keywords.RunOptions),
    (Engine.resume, keywords.ResumeOptions),
    (Engine.recover, keywords.RecoverOptions),
    (Engine.rerun, keywords.RerunOptions),
    (Engine.fork, keywords.ForkOptions),
]


@pytest.mark.parametrize(("method", "options"), TWINS)
def test_the_options_of_a_twin_are_those_of_the_method_it_stands_for(method: Any, options: Any) -> None:
    """Names and types, so that a mistyped option is found before the program runs."""
    taken = {
        name: str(parameter.annotation)
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }

    assert taken == {name: str(told.__forward_arg__) for name, told in options.__annotations__.items()}
    assert get_type_hints(options).keys() == taken.keys()


def test_a_mistyped_option_is_told() -> None:
    with pytest.raises(TypeError, match="run_idd"):
        Engine([]).run_sync(run_idd="r")  # type: ignore[call-arg]
