"""The commands by which a stranger can check a fact without the log: `quiesce prove` and `quiesce verify-proof`."""

from __future__ import annotations

from ..facts.fact import printable
from ..facts.proof import CheckedProof, FactProof, check_proof
from . import cli_json
from . import cli_options as given
from .cli_codes import Code, Misuse
from .cli_input import read_bytes
from .cli_log import open_log
from .cli_move import open_output
from .cli_show import Screen


def prove(
    run: given.RunName, log: given.Log, ref: given.AnyRef = None, since: given.Since = None,
    without_payload: given.WithoutPayload = False, out: given.Out = None,
) -> int:  # fmt: skip
    """Write a proof, as a line of JSON: that a fact stands in a run; or, with --since, that the run only grew."""
    if (ref is None) == (since is None):
        raise Misuse("name the fact to prove, as family:id; or say --since SIZE to prove that the run only grew")
    with open_log(log) as kept:
        if ref is not None:
            text = kept.prove(run, ref, payload=not without_payload).to_json()
        else:
            text = kept.prove_growth(run, since or 0).to_json()
    with open_output(out) as file:
        file.write(f"{text}\n".encode())
    return Code.OK


def verify_proof(
    file: given.ProofFile, root: given.Root = None, size: given.Size = None, json: given.Json = False
) -> int:
    """Check a proof without any log; give the root that you have from elsewhere, or it proves only itself."""
    try:
        text = read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise Misuse(f"{file} is no proof: it is not UTF-8 from byte {error.start} on") from error
    found = check_proof(text, root=None if root is None else root.strip().lower(), size=size)
    if json:
        cli_json.write(_proof_data(found))
    else:
        style = (
            ("wrong  ", "red") if not found.ok else ("holds  ", "green") if found.trusted else ("agrees  ", "yellow")
        )
        Screen().whole(style, printable(str(found)))
    return Code.OK if found.ok else Code.FOUND


def _proof_data(found: CheckedProof) -> dict[str, object]:
    proof = found.proof
    fact, payload = (dict(proof.fact), proof.payload) if isinstance(proof, FactProof) else (None, None)
    return {
        "ok": found.ok, "trusted": found.trusted, "problem": found.problem, "run": proof.run, "root": proof.root,
        "proof": "growth" if fact is None else "fact", "fact": fact, "payload": payload,
    }  # fmt: skip
