"""Gives tests judges that ask a scripted server, and closes both behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from quiesce.suggestors.feedback.judge import FeedbackJudge
from support.chat_server import ChatServer, Script

Asking = Callable[..., tuple[FeedbackJudge, ChatServer]]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Returns a function that makes a judge without rules, and the server that it asks."""
    with ExitStack() as stack:

        def make(script: Script, **options: Any) -> tuple[FeedbackJudge, ChatServer]:
            server = stack.enter_context(ChatServer(script))
            judge = FeedbackJudge(server.model, **{"tier": "model", "backoff": 0.0, **options})
            stack.callback(judge.close)
            return judge, server

        yield make
