"""Whether a user rejects or corrects what the assistant said: rules first, a model where they do not decide."""

from .calibration import Calibration, calibrate, judge_calibrations
from .judge import FeedbackJudge
from .latency import Latencies, Latency
from .model import AskedModel, MissingExtra, UnusableModel
from .payloads import KINDS, Feedback, FeedbackVerdict, JudgeCalibration, JudgeFailure, Label
from .prompt import build_judge_messages
from .rules import Signal, find_signal

__all__ = [
    "KINDS",
    "AskedModel",
    "Calibration",
    "Feedback",
    "FeedbackJudge",
    "FeedbackVerdict",
    "JudgeCalibration",
    "JudgeFailure",
    "Label",
    "Latencies",
    "Latency",
    "MissingExtra",
    "Signal",
    "UnusableModel",
    "build_judge_messages",
    "calibrate",
    "find_signal",
    "judge_calibrations",
]
