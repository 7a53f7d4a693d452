"""Starts a real PostgreSQL server for the tests that need one, and leaves those out, loudly, where there is none.

With QUIESCE_POSTGRES=required in the environment it is an error that there is none; `.ci/run` sets that.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

PASSWORD = "s3cret-of-the-tests"
SOCKET = "QUIESCE_TEST_POSTGRES"
HINT = "Install it (Debian: apt-get install postgresql)"
QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For tests that lose no power."""
DURABLE = {"fsync": "on", "wal_writer_delay": "10ms", "checkpoint_timeout": "30s"}


def find_binaries() -> Path | None:
    """Returns the folder with initdb and postgres; None if there is none."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    for folder in [*folders, *reversed(debian)]:
        if all((folder / name).exists() for name in ("initdb", "postgres")):
            return folder
    return None


class Server:
    """A server in a temporary folder, on a socket of its own and a free port of loopback."""

    def __init__(self, settings: dict[str, str]) -> None:
        found = find_binaries()
        if found is None:
            raise RuntimeError(f"there is no PostgreSQL here. {HINT}")
        self.binaries = found
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="quiesce-pg-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:  # initdb and postgres refuse to run as root
            self._who = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.folder, "postgres", "postgres")
        (self.folder / "password").write_text(PASSWORD, encoding="utf-8")
        (self.folder / "password").chmod(0o644)
        atexit.register(self.remove)
        self._initialize()
        self.start()

    def _initialize(self) -> None:
        words = [self.binaries / "initdb", "-D", self.data, "-U", "postgres", "--encoding=UTF8", "--locale=C"]
        words += ["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={self.folder}/password"]
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, check=False, **{"cwd": self.folder, **self._who}
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()}")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        settings = {
            **self.settings,
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
            "shared_buffers": "64MB",
        }
        words = [str(self.binaries / "postgres"), "-D", str(self.data)]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        if shutil.which("setpriv"):  # it goes when we do, however we go
            words = ["setpriv", "--pdeathsig", "QUIT", *words]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._who
            )
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the server did not start: {self.log()}") from None
                time.sleep(0.02)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stops it as pg_ctl does: in an orderly way, or as if it had crashed."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
            process.wait(60)

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Stops it and starts it again."""
        self.stop(mode)
        self.start()

    def log(self) -> str:
        """Returns what the server has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def url(self, schema: str = "", **options: Any) -> str:
        """Returns a url over the socket, where no password is asked for."""
        return url_over(f"{self.folder}:{self.port}", schema, **options)

    def tcp(self, schema: str = "", *, port: int = 0, password: str = PASSWORD, **options: Any) -> str:
        """Returns a url over loopback, with the password; `port` is that of a proxy."""
        said = {**({"schema": schema} if schema else {}), "sslmode": "disable", "gssencmode": "disable", **options}
        rest = "&".join(f"{name}={value}" for name, value in said.items())
        return f"postgresql://postgres:{password}@127.0.0.1:{port or self.port}/postgres?{rest}"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Returns a plain connection that commits by itself."""
        return psycopg.connect(self.url(), autocommit=True)

    def remove(self) -> None:
        """Stops it and removes its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


def url_over(socket: str = "", schema: str = "", **options: Any) -> str:
    """Returns a url over a socket: folder and port, or those of the server that `postgres` gave."""
    folder, _, port = (socket or os.environ[SOCKET]).rpartition(":")
    said = {"host": folder, "port": port, **({"schema": schema} if schema else {}), **options}
    return "postgresql://postgres@/postgres?" + "&".join(f"{name}={value}" for name, value in said.items())


def free_port() -> int:
    """Returns a port of loopback that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def schema_of(name: object) -> str:
    """Returns the name of a schema that goes by something: the same for the same."""
    return "t_" + sha256(str(name).encode()).hexdigest()[:20]


# --- fixtures and hooks: tests/conftest.py loads this module as a plugin ----------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server that loses nothing but power; who asks for it is left out where there is no PostgreSQL."""
    server = Server(QUICK)
    os.environ[SOCKET] = f"{server.folder}:{server.port}"  # processes that a test starts find it there
    yield server
    del os.environ[SOCKET]
    server.remove()
    atexit.unregister(server.remove)


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[Server]:
    """A server that waits for its disk, and may be stopped and started."""
    server = Server(DURABLE)
    yield server
    server.remove()
    atexit.unregister(server.remove)


NEEDED_BY = {"postgres", "durable_postgres"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a server where none can be started."""
    needing = [item for item in items if NEEDED_BY & set(getattr(item, "fixturenames", ()))]
    for item in needing:  # one worker starts one server
        item.add_marker(pytest.mark.xdist_group("postgres"))
    if needing and find_binaries() is None:
        if os.environ.get("QUIESCE_POSTGRES") == "required":
            raise pytest.UsageError(f"QUIESCE_POSTGRES=required, and there is no PostgreSQL here. {HINT}")
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in set(needing)]


def _missing(config: pytest.Config) -> str | None:
    if find_binaries() is not None:
        return None
    names = sorted(
        str(path.relative_to(config.rootpath)) for path in Path(__file__).parents[1].rglob("test_postgres*.py")
    )
    return f"NO POSTGRESQL FOUND: left out are the tests in {', '.join(names)} that need it. {HINT}"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says so at the top."""
    missing = _missing(config)
    return [missing] if missing else []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says so at the end, since `-q` shows no header."""
    missing = _missing(config)
    if missing:
        terminalreporter.write_line(missing, red=True)
