"""Runs the contract of stores on the two that need nothing but Python."""

from __future__ import annotations

from pathlib import Path

from quiesce.facts import Store
from quiesce.facts.stores import JsonLinesStore, MemoryStore, SqliteStore
from quiesce.facts.testing import StoreContract


class TestMemoryStore(StoreContract):
    lasting = False

    def open(self, place: Path) -> Store:
        return MemoryStore()


class TestJsonLinesStore(StoreContract):
    def open(self, place: Path) -> Store:
        return JsonLinesStore(place / "log.jsonl")


class TestSyncedJsonLinesStore(StoreContract):
    def open(self, place: Path) -> Store:
        return JsonLinesStore(place / "log.jsonl", sync="full")


class TestSqliteStore(StoreContract):
    def open(self, place: Path) -> Store:
        return SqliteStore(place / "log.db")


class TestSyncedSqliteStore(StoreContract):
    def open(self, place: Path) -> Store:
        return SqliteStore(place / "log.db", sync="full")
