"""Says how all tests run: on asyncio and on trio, with one of three Hypothesis profiles."""

import os
import signal

import pytest
from hypothesis import Phase, settings

# Whoever starts the tests in the background has them ignore Ctrl-C; the programs that they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Assertions in what tests share explain themselves as those in tests do.
pytest.register_assert_rewrite("support")
pytest_plugins = ["support.postgres"]

# No deadlines: how long a case takes says more about the machine than about the code.
settings.register_profile("dev", deadline=None)
# The same cases on every run, so that a red check is red because of the change.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
# As many as SOAK_CASES says, new ones every time.
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=int(os.environ.get("SOAK_CASES") or 20_000),
    phases=[phase for phase in Phase if phase is not Phase.explain],
    print_blob=True,
)
settings.load_profile(os.environ.get("QUIESCE_PROFILE") or "ci")


@pytest.fixture(params=["asyncio", "trio"], scope="session")
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Runs each async test on both backends; made once, since Hypothesis refuses what is made anew for each test."""
    backend: str = request.param
    return backend
