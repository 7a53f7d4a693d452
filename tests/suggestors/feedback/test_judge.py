"""Shows the judge in an engine: whom it asks, what it says, and that nobody is asked twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quiesce.engine import Budget, BudgetExhausted, Engine, Gate, InvalidOption, NotKept
from quiesce.facts import Context, FactLog, MemoryStore, StoreError, replay
from quiesce.facts.stores import Batch
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.judging import NO_SIGN, RULES
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict, JudgeCalibration, JudgeFailure
from support.chat_server import HANGS, ChatServer, Reply, Request, error, verdict

Asking = Callable[..., tuple[FeedbackJudge, ChatServer]]
FIXED: dict[str, Any] = {"run_id": "r", "seed": 7, "started": datetime(2026, 1, 1, tzinfo=UTC)}
UNCLEAR = "hm, the train in your plan leaves on a Sunday"


def said(*messages: str, **credit: Any) -> Context:
    """Returns a context of feedback under the ids "0", "1" and so on."""
    context = Context()
    for place, message in enumerate(messages):
        context.add(Feedback(user_message=message, assistant_response="At nine.", **credit), id=str(place))
    return context


def verdicts(context: Context) -> dict[str, FeedbackVerdict]:
    return {id: fact.payload for id, fact in context.of(FeedbackVerdict).items()}


def failures(context: Context) -> dict[str, JudgeFailure]:
    return {id: fact.payload for id, fact in context.of(JudgeFailure).items()}


async def test_a_model_judges_what_the_rules_leave(asking: Asking) -> None:
    judge, server = asking([verdict("explicit_rejection", 0.9)], tier="rules")
    context = said("No, that's wrong.", UNCLEAR, "Thanks!", provider="swift", request_id="q")
    found = verdicts((await Engine([judge]).run(context)).unwrap().context)

    assert [RULES, judge.judge, RULES] == [one.judge for one in found.values()]
    assert ["explicit_rejection", "explicit_rejection", "neutral"] == [one.kind for one in found.values()]
    assert {("swift", "q")} == {(one.provider, one.request_id) for one in found.values()}
    assert 1 == len(server.requests)
    assert UNCLEAR in server.requests[0]["messages"][1]["content"]


def test_rules_alone_need_no_model_and_no_task() -> None:
    judge = FeedbackJudge()
    found = verdicts(Engine([judge]).run_sync(said("No, that's wrong.", UNCLEAR)).unwrap().context)

    assert judge.options.pure
    assert (True, 0.85) == (found["0"].is_correction, found["0"].confidence)
    assert (False, "neutral", NO_SIGN) == (found["1"].is_correction, found["1"].kind, found["1"].confidence)


async def test_a_verdict_says_what_it_rests_on_and_what_it_cost(asking: Asking) -> None:
    judge, _ = asking([verdict("repetition", 0.7, tokens=(1_000, 200))], prices=(2.0, 10.0))
    result = await Engine([judge]).run(said(UNCLEAR), **FIXED)
    fact = result.context.of(FeedbackVerdict)["0"]

    assert (("feedback:0",), 0.7) == (fact.because, fact.confidence)
    assert 1_200 == result.context.trail.tokens
    assert pytest.approx(0.004) == result.context.trail.cost


async def test_tokens_count_against_the_budget_of_the_run(asking: Asking) -> None:
    judge, _ = asking([verdict(tokens=(900, 200))])
    result = await Engine([judge]).run(said(UNCLEAR), budget=Budget(tokens=1_000))

    assert isinstance(result.stop, BudgetExhausted)
    assert "tokens" == result.stop.resource


async def test_failed_calls_cost_too(asking: Asking) -> None:
    judge, _ = asking(
        [verdict("no such kind", tokens=(100, 10)), verdict("no such kind", tokens=(100, 10)), error(400)]
    )
    result = await Engine([judge]).run(said(UNCLEAR))

    assert 220 == result.context.trail.tokens
    assert 3 == failures(result.context)["0"].attempts


async def test_a_replay_a_rerun_and_a_recovery_ask_nobody(asking: Asking) -> None:
    """Nor does a second run of the same context."""
    judge, server = asking([verdict("self_correction", 0.8)], memo=False)
    log = FactLog.open()
    engine = Engine([judge])
    result = await engine.run(said(UNCLEAR, "and another"), log=log, **FIXED)
    again = await engine.rerun(log, "r")
    await engine.run(result.context, log=log, run_id="second")
    await engine.recover(log)

    assert again.same, str(again)
    assert 2 == len(server.requests)
    assert verdicts(result.context) == verdicts(replay(log, "r"))


class Dying(MemoryStore):
    """A store whose process dies at its third commit: behind the start and the journal, before the cycle."""

    lazy = False
    commits = 0

    def commit(self, batch: Batch) -> None:
        self.commits += 1
        if self.commits == 3:
            raise StoreError("the process died")
        super().commit(batch)


async def test_a_call_that_ended_before_the_crash_is_not_paid_for_twice(asking: Asking) -> None:
    store = Dying()
    judge, server = asking([verdict("repetition")])
    with pytest.raises(NotKept):
        await Engine([judge]).run(said(UNCLEAR), log=FactLog(store), **FIXED)
    twin = FeedbackJudge(server.model, tier="model")
    await Engine([twin]).recover(FactLog(store))
    found = verdicts(replay(FactLog(store), "r"))

    assert (1, ["repetition"]) == (len(server.requests), [one.kind for one in found.values()])


async def test_who_finishes_first_leaves_no_trace(asking: Asking) -> None:
    """Two logs of one run are the same byte for byte, if the model answers the same."""
    judge, _ = asking(
        lambda request: verdict("neutral" if "\nb\n" in request["messages"][1]["content"] else "repetition"),
        memo=False,
    )
    logs = [FactLog.open(), FactLog.open()]
    for log in logs:
        await Engine([judge]).run(said(*"abcdefgh"), log=log, **FIXED)

    assert logs[0].to_bytes("r") == logs[1].to_bytes("r")


async def test_identical_feedback_is_judged_once(asking: Asking) -> None:
    """In one run and from run to run, whatever the ids; each is still credited to whom it is about."""
    judge, server = asking([verdict()])
    context = said(UNCLEAR, UNCLEAR)
    context.add(Feedback(user_message=UNCLEAR, assistant_response="At nine.", provider="tardy"), id="other")
    one = (await Engine([judge]).run(context, log=FactLog.open())).unwrap()
    two = (await Engine([judge]).run(said(UNCLEAR))).unwrap()

    assert 1 == len(server.requests)
    assert ["0", "1", "other"] == sorted(verdicts(one.context))
    assert "tardy" == verdicts(one.context)["other"].provider
    assert (120, 0) == (one.context.trail.tokens, two.context.trail.tokens)
    assert 1 == judge.latency.count


async def test_with_a_log_every_process_judges_once(asking: Asking, tmp_path: Path) -> None:
    """Another judge stands for another process: it has only the log. Another manner of judging asks anew."""
    place = str(tmp_path / "log.db")
    with ChatServer([error(400), verdict(reasoning="quotes the user")]) as server:
        found = []
        for threshold in (0.6, 0.6, 0.6, 0.7):
            log = FactLog.open(place)
            judge = FeedbackJudge(server.model, tier="model", memo=log, threshold=threshold)
            found.append(list(verdicts((await Engine([judge]).run(said(UNCLEAR), log=log)).context)))
            await anyio.to_thread.run_sync(judge.close)
            log.close()
    with FactLog.open(place) as log:
        notes = [note for _, note in log.notes("judgement")]

    assert (3, [[], ["0"], ["0"], ["0"]]) == (len(server.requests), found)
    assert 2 == len(notes)
    assert not any(b"quotes" in note for note in notes)


async def test_a_kept_judgement_that_is_damaged_is_asked_for_anew(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    log = FactLog.open()
    judge, server = asking([verdict()], memo=log)
    await Engine([judge]).run(said(UNCLEAR))
    log.keep({address: b"{}" for address, _note in log.notes("judgement")})
    fresh = FeedbackJudge(server.model, tier="model", memo=log)
    found = verdicts((await Engine([fresh]).run(said(UNCLEAR))).context)
    await anyio.to_thread.run_sync(fresh.close)

    assert (["0"], 2) == (list(found), len(server.requests))
    assert "asked for anew" in caplog.text


async def test_other_words_other_answers_and_other_history_are_other_questions(asking: Asking) -> None:
    judge, server = asking([verdict()])
    context = Context()
    same = Feedback(user_message="a", assistant_response="a")
    changes: list[dict[str, Any]] = [
        {}, {"user_message": "b"}, {"assistant_response": "b"}, {"earlier": ("b",)}, {"provider": "b"},
        {"user_message": "", "earlier": ("a",)}, {"assistant_response": "", "earlier": ("a",)},
    ]  # fmt: skip
    for place, changed in enumerate(changes):
        context.add(same.model_copy(update=changed), id=str(place))
    await Engine([judge]).run(context)

    assert 6 == len(server.requests)


async def test_a_failure_is_not_remembered(asking: Asking) -> None:
    judge, _ = asking([error(400), verdict()])
    first = await Engine([judge]).run(said(UNCLEAR))
    second = await Engine([judge]).run(said(UNCLEAR))

    assert (["0"], []) == (list(failures(first.context)), list(verdicts(first.context)))
    assert ["0"] == list(verdicts(second.context))


async def test_no_more_calls_at_a_time_than_the_limit(asking: Asking) -> None:
    three = threading.Barrier(3, timeout=20)  # nobody is answered before three are there

    def reply(request: Request) -> Reply:
        three.wait()
        return verdict()

    judge, server = asking(reply, limit=3, samples=3)
    await Engine([judge]).run(said(*"abcdef"))

    assert (18, 3) == (len(server.requests), server.at_once)


async def test_several_samples_make_one_verdict_and_each_is_shown_another_order(asking: Asking) -> None:
    said_by_order = {True: verdict("repetition", 0.9), False: verdict("neutral", 0.9)}
    judge, server = asking(lambda request: said_by_order[first_is_answer(request)], samples=5, threshold=0.5)
    result = await Engine([judge]).run(said(UNCLEAR))
    found = verdicts(result.context)["0"]

    assert (True, "repetition", 5, 3) == (found.is_correction, found.kind, found.samples, found.agreed)
    assert found.interval is not None
    assert 3 == sum(map(first_is_answer, server.requests))
    assert 5 == len({request["messages"][0]["content"] for request in server.requests})
    assert 600 == result.context.trail.tokens
    assert judge.judge.endswith("/x5")


def first_is_answer(request: Request) -> bool:
    return bool(request["messages"][1]["content"].startswith("<assistant_answer"))


async def test_samples_that_disagree_are_a_failure_that_says_so(asking: Asking) -> None:
    said_by_order = {True: verdict("repetition", 0.9), False: verdict("neutral", 0.9)}
    judge, _ = asking(lambda request: said_by_order[first_is_answer(request)], samples=4)
    result = await Engine([judge]).run(said(UNCLEAR))
    failure = failures(result.context)["0"]

    assert "disagreement" == failure.kind
    assert "2 of 4" in failure.message
    assert {} == verdicts(result.context)


async def test_a_sample_that_fails_does_not_take_the_others_along(asking: Asking) -> None:
    judge, _ = asking([error(400), verdict("repetition"), verdict("repetition")], samples=3, limit=1)
    found = verdicts((await Engine([judge]).run(said(UNCLEAR))).context)["0"]

    assert (2, 2) == (found.samples, found.agreed)


async def test_the_threshold_is_that_of_the_judge(asking: Asking) -> None:
    for threshold, stands in ((0.6, True), (0.61, False)):
        judge, _ = asking([verdict("repetition", 0.6)], threshold=threshold)
        found = verdicts((await Engine([judge]).run(said(UNCLEAR))).context)["0"]

        assert (stands, 0.6, not stands) == (found.is_correction, found.confidence, found.below_threshold)
    low = verdicts((await Engine([FeedbackJudge(threshold=0.9)]).run(said("That's wrong."))).context)["0"]
    assert (False, "neutral", 0.85) == (low.is_correction, low.kind, low.confidence)


async def test_verdicts_that_give_no_reasons_quote_nobody(asking: Asking) -> None:
    """What is redacted in the feedback must not stand in the verdict."""
    for reasons in (True, False):
        judge, _ = asking([verdict(reasoning="the user says Sunday")], reasons=reasons, tier="rules")
        found = verdicts((await Engine([judge]).run(said(UNCLEAR, "That's wrong."))).context)

        assert [reasons, reasons] == [bool(one.reasoning) for one in found.values()]


async def test_unsure_verdicts_can_be_gated(asking: Asking) -> None:
    judge, _ = asking([verdict("repetition", 0.65)])
    result = await Engine([judge], gates=[Gate("unsure", families=[FeedbackVerdict], below_confidence=0.8)]).run(
        said(UNCLEAR)
    )

    assert 1 == len(result.gates)


@pytest.mark.parametrize("agrees", [True, False])
async def test_a_judge_that_people_contradict_only_advises(asking: Asking, agrees: bool) -> None:
    judge, _ = asking([verdict()], min_kappa=0.6, min_labels=40)
    counts: dict[str, Any] = (
        {"true_positive": 30, "true_negative": 30} if agrees else {"true_positive": 30, "false_positive": 30}
    )
    context = said(UNCLEAR)
    context.add(JudgeCalibration(judge=judge.judge, **counts), id=judge.judge)
    context.add(JudgeCalibration(judge="another", true_positive=9), id="another")
    fact = (await Engine([judge]).run(context)).unwrap().context.of(FeedbackVerdict)["0"]

    assert (not agrees) == fact.payload.advisory
    assert ("feedback:0", f"judge-calibration:{judge.judge}") == fact.because


def test_a_judge_of_which_nobody_has_said_anything_only_advises() -> None:
    found = verdicts(Engine([FeedbackJudge(min_kappa=0.4)]).run_sync(said("That's wrong.")).unwrap().context)

    assert found["0"].advisory
    assert not verdicts(Engine([FeedbackJudge()]).run_sync(said("That's wrong.")).context)["0"].advisory


async def test_a_run_that_is_called_off_calls_off_its_calls(asking: Asking) -> None:
    judge, server = asking([HANGS], timeout=60)
    with anyio.move_on_after(5) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Engine([judge]).run, said(UNCLEAR))
            await anyio.to_thread.run_sync(server.arrived.wait)
            tasks.cancel_scope.cancel()

    assert not scope.cancelled_caught


def test_runs_in_many_loops_share_one_connection_pool(asking: Asking) -> None:
    """A known fault of clients that are kept: "Event loop is closed" in the second `run_sync`."""
    judge, server = asking([verdict()], memo=False)
    for place in range(3):
        assert Engine([judge]).run_sync(said(f"{UNCLEAR} {place}")).unwrap().context.of(FeedbackVerdict)
    judge.close()
    assert verdicts(Engine([judge]).run_sync(said("after it was closed")).unwrap().context)

    assert 4 == len(server.requests)


FORKING = """
import os, sys
from quiesce.engine import Engine
from quiesce.facts import Context
from quiesce.suggestors.feedback.judge import FeedbackJudge
from quiesce.suggestors.feedback.payloads import Feedback, FeedbackVerdict

judge = FeedbackJudge(sys.argv[1], tier="model", samples=3, limit=1, rate=1_000)

def ask(message):
    context = Context()
    context.add(Feedback(user_message=message, assistant_response="At nine."), id="f")
    print(len(Engine([judge]).run_sync(context).context.of(FeedbackVerdict)), flush=True)

ask("before")
if child := os.fork():
    os.waitpid(child, 0)
    ask("the parent goes on")
else:
    ask("in the child")
    os._exit(0)
"""


@pytest.mark.slow
def test_a_child_of_a_fork_judges_with_connections_of_its_own() -> None:
    """The loop's thread does not survive a fork: a child that waited for it would wait for ever."""
    with ChatServer([verdict()]) as server:
        command = [sys.executable, "-W", "ignore", "-c", FORKING, server.model]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ("", "1\n1\n1\n", 9) == (done.stderr, done.stdout, len(server.requests))


def test_a_registered_judge_is_still_a_judge(asking: Asking) -> None:
    judge, _ = asking([verdict()], name="second-judge")
    engine = Engine([FeedbackJudge(), judge])
    engine.run_sync(said(UNCLEAR))

    assert 1 == judge.latency.count == judge.call_latency.count
    assert str(judge.latency).startswith("1 judgements: p50 ")


def test_what_its_answers_depend_on_is_in_its_version() -> None:
    """An answer that was recorded of another judge is not taken for its own."""
    judges = [
        FeedbackJudge(), FeedbackJudge(threshold=0.7), FeedbackJudge(clear=0.8),
        FeedbackJudge("http://localhost:1/v1#a"), FeedbackJudge("http://localhost:1/v1#b"),
        FeedbackJudge("http://localhost:1/v1#a", samples=3), FeedbackJudge("http://localhost:1/v1#a", tier="model"),
        FeedbackJudge("http://localhost:1/v1#a", user_limit=10),
    ]  # fmt: skip

    assert len(judges) == len({judge.options.version for judge in judges})
    assert FeedbackJudge().options.version == FeedbackJudge(timeout=1, retries=9, backoff=3).options.version


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"threshold": 1.5}, "a number from 0 to 1"),
        ({"threshold": float("nan")}, "a number from 0 to 1"),
        ({"threshold": True}, "a number from 0 to 1"),
        ({"clear": -0.1}, "a number from 0 to 1"),
        ({"agreement": 0.4}, "from 0.5 to below 1"),
        ({"agreement": 1.0}, "from 0.5 to below 1"),
        ({"samples": 0}, "a whole number from 1"),
        ({"samples": 100}, "from 1 to 99"),
        ({"samples": 1.5}, "a whole number from 1"),
        ({"timeout": 0}, "a positive number"),
        ({"timeout": float("inf")}, "a positive number"),
        ({"rate": -1}, "a positive number"),
        ({"limit": 0}, "a whole number from 1"),
        ({"retries": -1}, "a whole number from 0"),
        ({"backoff": -1}, "from 0 to 3600"),
        ({"min_kappa": 1.1}, "a number from -1 to 1"),
        ({"min_labels": 0}, "a whole number from 1"),
        ({"memo": 0}, "a positive number of seconds"),
        ({"memo": timedelta(0)}, "a positive number of seconds"),
        ({"tier": "all"}, '"rules" or "model"'),
        ({"tier": "model"}, "possible without a model"),
        ({"cutting": "half"}, '"both ends" or "prefix"'),
        ({"user_limit": 0}, "from 1 to 1,000,000"),
        ({"prices": (1.0, -1.0)}, "what a million tokens cost"),
        ({"prices": 3}, "what a million tokens cost"),
        ({"temperature": 0}, "temperature=0 is not an option of FeedbackJudge"),
        ({"sample": 3}, "an option of FeedbackJudge; did you mean samples=…?"),
    ],
)
def test_an_option_out_of_its_range_is_refused_with_the_range(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        FeedbackJudge(**options)

    assert told in str(caught.value)
    assert caught.value.option == next(iter(options))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=5))
def test_any_messages_get_a_verdict_by_rules(messages: list[str]) -> None:
    result = Engine([FeedbackJudge()]).run_sync(said(*messages)).unwrap()

    assert [str(place) for place in range(len(messages))] == sorted(verdicts(result.context), key=int)


def test_hostile_inputs_become_diagnostics_and_stop_nothing() -> None:
    context = said("That's wrong.")
    for place, raw in enumerate(
        [b"{", b'{"user_message": 3}', b'{"user_message": "a"}', b"null", b'{"user_message":"\xff"}']
    ):
        context.admit("feedback", f"bad-{place}", raw)
    result = Engine([FeedbackJudge()]).run_sync(context).unwrap()

    assert ["0"] == list(verdicts(result.context))
    assert 5 == len(list(result.context["diagnostics"]))


def test_the_key_of_openai_is_not_sent_to_other_servers(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OPENAI_API_KEY", "sk-private")
    judge, server = asking([verdict()])
    with_key, other = asking([verdict()], api_key="mine")
    for one in (judge, with_key):
        Engine([one]).run_sync(said(UNCLEAR))

    assert "Bearer none" == server.headers[0]["Authorization"]
    assert "Bearer mine" == other.headers[0]["Authorization"]
