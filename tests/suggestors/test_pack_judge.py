"""Holds the pack to what is said of judges: one that agrees with people is heard, and labels are what tells."""

from __future__ import annotations

from quiesce.suggestors import Feedback, FeedbackJudge, FeedbackVerdict, Label, providers


def test_a_judge_that_is_to_agree_with_people_is_heard_once_labels_say_that_it_does() -> None:
    """What labels say outlives the run, since the pack keeps the projection."""
    pack = providers(judge=FeedbackJudge(min_kappa=0.2, min_labels=2))
    heard = []
    with pack.open() as log:
        for number in range(6):
            context = pack.context(log)
            corrects = number % 2 == 0
            said = "That's wrong." if corrects else "Thanks, that is perfect!"
            context.add(Feedback(user_message=said, assistant_response="It is 4.", provider="swift"), id=f"f{number}")
            found = pack.engine().run_sync(context, log=log, run_id=f"r{number}").context
            verdict = found.of(FeedbackVerdict)[f"f{number}"]
            heard.append(not verdict.payload.advisory)
            labels = pack.context(log)
            labels.add(Label.of(verdict, is_correction=corrects), id=f"f{number}")
            pack.engine().run_sync(labels, log=log, run_id=f"l{number}")

    assert (False, True) == (heard[0], heard[-1])
