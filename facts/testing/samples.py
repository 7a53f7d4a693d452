"""Makes records and notes for stores to keep: texts of every awkward kind in the form in which a log writes them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st

from ..fact import RunId
from ..record import Record
from ..stores import Address, Put

RUN = RunId("r")
RUNS = tuple(map(RunId, ("r", "another run", 'with "quotes" \\ and ünïcode', "10", "a/../b", "x" * 200)))
SPACES = ("journal", "memo", "Z", "é")
OWNERS = ("", *RUNS[:3])
KEYS = ("", "k", "K", "é\u2028", 'it\'s "quoted"', "%_\\", "😀", "\uffee", "x" * 300)
FAMILIES = ("order", 'odd "family" ü')

TEXTS = st.sampled_from(["", "a", "é\u2028", '"', "\\", "\n", "\x7f", "😀", "}", '{"commit":"']) | st.text(max_size=8)
VALUES = st.sampled_from([b"", b"\x00\xff\n", b"{}", bytes(range(256))]) | st.binary(max_size=12)


def new_stamp() -> int:
    """Returns a number that no other change of a note has, in whatever process; a log makes them so too."""
    return secrets.randbits(62)


def put_of(value: bytes, families: Sequence[str] = ()) -> Put:
    """Returns a note to keep."""
    return Put(value, new_stamp(), tuple(families))


def text_of(value: Any) -> bytes:
    """Returns JSON on one line, whatever it holds."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def record_of(run: str, seq: int, text: str, payloads: Sequence[str] = ()) -> Record:
    """Returns a record in the form in which a log writes it."""
    raw = b'{"v":1,"run":%s,"seq":%d,"text":%s}' % (text_of(run), seq, text_of(text))
    bodies = [b'{"text":%s}' % text_of(one) for one in payloads]
    beside = b'{"took":%s, "odd":1E2}' % json.dumps(text.encode("utf-8", "replace").decode()).encode()
    return Record(raw, sha256(raw).hexdigest(), {sha256(body).hexdigest(): body for body in bodies}, beside)


def records_of(run: str, seq: int, *texts: str) -> list[Record]:
    """Returns records that follow one another; some have payloads, one of which every record names."""
    return [record_of(run, seq + place, text, ["shared", text] if text else []) for place, text in enumerate(texts)]


def redacted(record: Record, why: str = "asked for") -> Record:
    """Returns a record whose payloads are gone."""
    told = b'{"reason":%s, "by":"ana"}' % text_of(why)
    return replace(record, payloads={}, gone={**record.gone, **dict.fromkeys(record.payloads, told)})


def address_of(key: str = "k", owner: str = "", space: str = "journal") -> Address:
    """Returns where a note stands."""
    return Address(space, owner, key)


def text_in(record: Record) -> str:
    """Returns the text that a record was made of."""
    return str(json.loads(record.raw)["text"])
