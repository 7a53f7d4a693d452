"""Names posteriors and their like: one id for each provider, and each provider under a tag, whatever their names hold.

A name of letters, digits and usual signs is its own id ("gpt-5", "gpt-5/billing"). What an id cannot hold, and "/" and
"%" themselves, stand as the bytes of their UTF-8, each as "%" and two hex digits. A name that is too long for an id is
named by its digest, behind "%%". So no two pairs of a provider and a tag share an id.
"""

from __future__ import annotations

from hashlib import sha256

from ...facts.fact import MAX_ID_BYTES

LONGEST = (MAX_ID_BYTES - 1) // 2
"""Bytes that one of the two parts of an id may take."""


def posterior_id(provider: str, tag: str | None = None) -> str:
    """Returns the id of what is known of a provider, or of a provider under a tag.

    ```python
    from quiesce.suggestors.routing import posterior_id

    assert posterior_id("gpt-5", "billing") == "gpt-5/billing"
    assert posterior_id("eu/gpt-5") == "eu%2Fgpt-5"
    ```
    """
    return _part(provider) if tag is None else f"{_part(provider)}/{_part(tag)}"


def has_tag(id: str) -> bool:
    """Tells whether an id names what is known under a tag."""
    return "/" in id


def probe_id(request: str, provider: str, what: str) -> str:
    """Returns the id of the turn that a request was for a provider in quarantine, or for one that is back."""
    return f"{what}/{_part(request, 250)}/{_part(provider, 250)}"


def _part(name: str, longest: int = LONGEST) -> str:
    if name.isascii() and name.isprintable() and not name.isspace() and "/" not in name and "%" not in name:
        part = name  # nearly every name
    else:
        blank = not name.strip()
        part = "".join(_escaped(char) if blank or char in "/%" or not char.isprintable() else char for char in name)
    if part and len(part.encode()) <= longest:
        return part
    return f"%%{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
