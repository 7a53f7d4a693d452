"""Who answers, and answers worse: drift of providers, detected and acted on."""

from .calibrate import AlarmRate, Calibration, calibrate
from .detectors import Detector, EDetector, detector
from .errors import InvalidDriftSetting, MissingDetector
from .evidence import RateTest
from .judge import Judgement, detect_drift
from .monitor import DriftMonitor
from .payloads import (
    ChangePoint,
    DriftBaseline,
    DriftVerdict,
    KnownWindow,
    ReloadRequest,
    ResponseObservation,
)
from .stops import normalise_stop_reason
from .thresholds import RECOMMENDED, SENSITIVITY, DriftOptions, DriftThresholds
from .watch import BaselineOptions
from .window import DriftWindow

__all__ = [
    "RECOMMENDED",
    "SENSITIVITY",
    "AlarmRate",
    "BaselineOptions",
    "Calibration",
    "ChangePoint",
    "Detector",
    "DriftBaseline",
    "DriftMonitor",
    "DriftOptions",
    "DriftThresholds",
    "DriftVerdict",
    "DriftWindow",
    "EDetector",
    "InvalidDriftSetting",
    "Judgement",
    "KnownWindow",
    "MissingDetector",
    "RateTest",
    "ReloadRequest",
    "ResponseObservation",
    "calibrate",
    "detect_drift",
    "detector",
    "normalise_stop_reason",
]
