"""Where events are kept: one protocol, and the stores that need nothing but Python."""

from .base import Broken, Fenced, Store
from .jsonl import JsonLinesStore
from .memory import MemoryStore

__all__ = ["Broken", "Fenced", "JsonLinesStore", "MemoryStore", "Store"]
