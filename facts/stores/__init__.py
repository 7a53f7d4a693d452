"""Where events are kept: one protocol, and the stores that need nothing but Python."""

from .base import Broken, Fenced, Stale, Store
from .batch import Address, Batch, Note, Put
from .jsonl import JsonLinesStore
from .memory import MemoryStore

__all__ = ["Address", "Batch", "Broken", "Fenced", "JsonLinesStore", "MemoryStore", "Note", "Put", "Stale", "Store"]
