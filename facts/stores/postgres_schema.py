"""Lays out the schema of the PostgreSQL store: its versions, the steps between them, and the functions that write.

The tables live in a schema of their own, whose table `layout` says in which version. A version is made by all steps up
to it; a step that was released is never changed. The functions are made anew with every version and carry its number
in their names: a process that runs an older build fails at its next commit, instead of writing in the old way.

**Why a reader of the ledger misses nothing.** Let N be a note with families F, as a projection keeps it: a reader reads
N with stamp s and position p, reads the events behind p, and puts N in a batch that expects s. Let A be an append of
an event of F. Both transactions go through `keep`, in this order:

1. the advisory lock: A takes it shared, and so does who puts N; only who puts N *for the first time*, or with other
   families, takes it alone;
2. the rows of runs, by name, then the rows of notes that are expected, put or touched, by address: they are locked;
3. what is expected is compared, under these locks;
4. A gives N another stamp; A takes positions from the sequence; N gets the position of the last event that is there.

If N stood there when A looked, both lock the row of N (2), so one waits until the other is over:

- A is over first. If the reader read N before that, it finds another stamp and is `Stale`. If it read N afterwards,
  A was committed when it read the events, so it saw A, provided that A's position is behind p: below.
- N is put first, at p, the greatest position visible then. A takes its positions after that (4) from a sequence that
  never gives one that is not greater than all it gave before, and p is among those. So A's are behind p.

If N did not stand there when A looked, A held the advisory lock (1) before who put N first had it, and that one waits
until A is over: every append is either over when N is put, and then visible to all who read N, or sees N. (Removing
families needs no care.) Every statement of a function sees what was committed before the *statement* began, since
the transaction is READ COMMITTED and the functions are VOLATILE: what follows a lock sees what it waited for.

Appends to other runs that touch no note in common share the advisory lock and nothing else, so they do not wait for
one another. A commit may therefore become visible behind one with a greater position: harmless for every reader that
works as above, since an event that it cares about would have touched its note.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import psycopg

from ..errors import StoreError
from .base import NewerFormat

Connection = psycopg.Connection[tuple[Any, ...]]

STEPS: tuple[str, ...] = (
    """
    CREATE SEQUENCE {schema}.ledger;
    CREATE TABLE {schema}.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run text COLLATE "C" NOT NULL UNIQUE,
        first bigint NOT NULL,           -- the number of the first event that was not cut off
        next bigint NOT NULL,            -- the number of the event that comes next
        born bigint NOT NULL,            -- the position that its first event had
        token bigint NOT NULL            -- which commit appended last
    );
    CREATE TABLE {schema}.events (
        position bigint PRIMARY KEY,
        run bigint NOT NULL,
        seq bigint NOT NULL,
        size bigint NOT NULL,
        raw bytea NOT NULL,
        digest bytea NOT NULL,
        seal bytea NOT NULL,
        beside bytea,
        payloads bytea,
        gone bytea,
        UNIQUE (run, seq)
    );
    CREATE TABLE {schema}.floor (position bigint NOT NULL);    -- what went away had no greater position
    INSERT INTO {schema}.floor VALUES (0);
    """,
    """
    CREATE TABLE {schema}.notes (
        space text COLLATE "C" NOT NULL,
        owner text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        stamp bigint NOT NULL,
        position bigint NOT NULL,
        families text[] NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (space, owner, key)
    ) WITH (fillfactor = 80);
    CREATE INDEX notes_of_owner ON {schema}.notes (owner) WHERE owner <> '';
    CREATE INDEX notes_with_families ON {schema}.notes (space, owner, key) WHERE families <> '{{}}';
    """,
)
VERSION = len(STEPS)
"""The version that this build writes."""

FENCED, STALE, AGAIN, GONE = "QS001", "QS002", "QS003", "QS004"
"""What the functions raise: a run does not end there, a note has another stamp, a race to be run again, no such event.
The detail says which, counted from 1, and for a run where it ends."""

FUNCTIONS = """
CREATE FUNCTION {schema}.ledger_end_v{version}() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT greatest((SELECT max(position) FROM {schema}.events), (SELECT position FROM {schema}.floor))
$$;

-- Tells whether a put brings families that the note does not have yet.
CREATE FUNCTION {schema}.registers_v{version}(spaces text[], owners text[], keys text[], families text[])
RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM unnest(spaces, owners, keys, families) AS put (space, owner, key, families)
        LEFT JOIN {schema}.notes AS note
            ON (note.space, note.owner, note.key) = (put.space, put.owner, put.key)
        WHERE put.families <> '{{}}' AND note.families IS DISTINCT FROM put.families::text[])
$$;

-- Locks, compares, moves the ends of runs, touches notes. Returns the server's time.
CREATE FUNCTION {schema}.keep_v{version}(
    run_names text[], ends bigint[], grows bigint[], commit_token bigint,
    e_spaces text[], e_owners text[], e_keys text[], e_stamps bigint[],
    p_spaces text[], p_owners text[], p_keys text[], p_families text[],
    touched text[], touched_as bigint
) RETURNS double precision LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    place integer;
    has_families boolean := p_families <> array_fill('{{}}'::text, ARRAY[cardinality(p_families)]);
    alone boolean := false;
    hit boolean;
    any_hit boolean := false;
    founds bigint[] := ends;
    found_number bigint;
    spot record;
BEGIN
    IF cardinality(touched) > 0 OR cardinality(p_spaces) > 0 THEN
        IF has_families THEN
            alone := {schema}.registers_v{version}(p_spaces, p_owners, p_keys, p_families);
        END IF;
        IF alone THEN
            PERFORM pg_advisory_xact_lock({lock});
        ELSE
            PERFORM pg_advisory_xact_lock_shared({lock});
        END IF;
    END IF;

    FOR place IN SELECT at FROM unnest(run_names) WITH ORDINALITY AS named (run, at) ORDER BY run COLLATE "C" LOOP
        IF ends[place] = 0 AND grows[place] > 0 THEN
            INSERT INTO {schema}.runs (run, first, next, born, token) VALUES (run_names[place], 0, 0, 0, commit_token)
            ON CONFLICT DO NOTHING;
        END IF;
        SELECT next INTO found_number FROM {schema}.runs WHERE run = run_names[place] FOR UPDATE;
        founds[place] := coalesce(found_number, 0);
    END LOOP;
    FOR spot IN
        SELECT space COLLATE "C" AS space, owner COLLATE "C" AS owner, key COLLATE "C" AS key
        FROM unnest(e_spaces || p_spaces, e_owners || p_owners, e_keys || p_keys) AS named (space, owner, key)
        UNION
        SELECT space, owner, key FROM {schema}.notes WHERE families <> '{{}}' AND families && touched
        ORDER BY 1, 2, 3
    LOOP
        SELECT families && touched INTO hit FROM {schema}.notes
        WHERE space = spot.space AND owner = spot.owner AND key = spot.key FOR UPDATE;
        any_hit := any_hit OR coalesce(hit, false);
    END LOOP;

    FOR place IN 1 .. cardinality(run_names) LOOP
        IF ends[place] >= 0 AND founds[place] <> ends[place] THEN
            RAISE EXCEPTION 'quiesce: run % ends at %, not at %', run_names[place], founds[place], ends[place]
            USING ERRCODE = '{fenced}', DETAIL = place || ' ' || founds[place];
        END IF;
    END LOOP;
    FOR place IN 1 .. cardinality(e_spaces) LOOP
        SELECT stamp INTO found_number FROM {schema}.notes
        WHERE space = e_spaces[place] AND owner = e_owners[place] AND key = e_keys[place];
        IF found_number IS DISTINCT FROM e_stamps[place] THEN
            RAISE EXCEPTION 'quiesce: a note of % has another stamp', e_spaces[place]
            USING ERRCODE = '{stale}', DETAIL = place::text;
        END IF;
    END LOOP;
    IF has_families AND NOT alone AND {schema}.registers_v{version}(p_spaces, p_owners, p_keys, p_families) THEN
        RAISE EXCEPTION 'quiesce: a note went away in the meantime' USING ERRCODE = '{again}';
    END IF;

    FOR place IN 1 .. cardinality(run_names) LOOP
        IF grows[place] > 0 THEN
            UPDATE {schema}.runs SET next = next + grows[place], token = commit_token WHERE run = run_names[place];
        END IF;
    END LOOP;
    IF any_hit THEN
        UPDATE {schema}.notes AS note SET stamp = touched_as
        WHERE families <> '{{}}' AND families && touched AND NOT EXISTS (
            SELECT FROM unnest(p_spaces, p_owners, p_keys) AS put (space, owner, key)
            WHERE (note.space, note.owner, note.key) = (put.space, put.owner, put.key));
    END IF;
    RETURN extract(epoch FROM clock_timestamp());
END $$;

-- Adds events that follow one another to a run which `keep` has moved.
CREATE FUNCTION {schema}.add_v{version}(
    run_name text, start bigint, raws bytea[], digests bytea[], seals bytea[],
    besides bytea[], payloads bytea[], gones bytea[], sizes bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    me bigint;
BEGIN
    SELECT id INTO STRICT me FROM {schema}.runs WHERE run = run_name;
    FOR place IN 1 .. cardinality(raws) LOOP
        INSERT INTO {schema}.events (position, run, seq, size, raw, digest, seal, beside, payloads, gone)
        VALUES (nextval('{schema}.ledger'), me, start + place - 1, sizes[place], raws[place], digests[place],
            seals[place], besides[place], payloads[place], gones[place]);
    END LOOP;
    IF start = 0 THEN
        UPDATE {schema}.runs SET born = (SELECT position FROM {schema}.events WHERE run = me AND seq = 0)
        WHERE id = me;
    END IF;
END $$;

-- Gives events other payloads.
CREATE FUNCTION {schema}.replace_v{version}(
    run_name text, seqs bigint[], new_seals bytea[], new_besides bytea[], new_payloads bytea[], new_gones bytea[],
    new_sizes bigint[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    FOR place IN 1 .. cardinality(seqs) LOOP
        UPDATE {schema}.events SET seal = new_seals[place], beside = new_besides[place],
            payloads = new_payloads[place], gone = new_gones[place], size = new_sizes[place]
        WHERE run = (SELECT id FROM {schema}.runs WHERE runs.run = run_name) AND seq = seqs[place];
        IF NOT FOUND THEN
            RAISE EXCEPTION 'quiesce: run % has no event %', run_name, seqs[place]
            USING ERRCODE = '{gone}', DETAIL = seqs[place]::text;
        END IF;
    END LOOP;
END $$;

-- Takes away the events of a run before a number; all of it, and its notes, if there is none.
CREATE FUNCTION {schema}.cut_v{version}(run_name text, before bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    me bigint;
BEGIN
    UPDATE {schema}.floor SET position = {schema}.ledger_end_v{version}();
    SELECT id INTO me FROM {schema}.runs WHERE run = run_name;
    IF before IS NULL THEN
        DELETE FROM {schema}.events WHERE run = me;
        DELETE FROM {schema}.runs WHERE id = me;
        DELETE FROM {schema}.notes WHERE owner = run_name AND owner <> '';
    ELSE
        DELETE FROM {schema}.events WHERE run = me AND seq < before;
        UPDATE {schema}.runs SET first = greatest(first, before) WHERE id = me;
    END IF;
END $$;

-- Keeps notes and takes notes away, in the order of their addresses. One that is expected not to be there (`fresh`)
-- may have been put by somebody else since `keep` looked: there was no row to lock then.
CREATE FUNCTION {schema}.put_v{version}(
    spaces text[], owners text[], keys text[], stamps bigint[], put_families text[], put_values bytea[], fresh boolean[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    ledger_end bigint := {schema}.ledger_end_v{version}();
BEGIN
    FOR place IN 1 .. cardinality(spaces) LOOP
        IF put_values[place] IS NULL THEN
            DELETE FROM {schema}.notes
            WHERE space = spaces[place] AND owner = owners[place] AND key = keys[place];
        ELSIF fresh[place] THEN
            INSERT INTO {schema}.notes (space, owner, key, stamp, position, families, value)
            VALUES (spaces[place], owners[place], keys[place], stamps[place], ledger_end,
                put_families[place]::text[], put_values[place])
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'quiesce: a note of % is there already', spaces[place]
                USING ERRCODE = '{stale}', DETAIL = -place;
            END IF;
        ELSE
            INSERT INTO {schema}.notes AS note (space, owner, key, stamp, position, families, value)
            VALUES (spaces[place], owners[place], keys[place], stamps[place], ledger_end,
                put_families[place]::text[], put_values[place])
            ON CONFLICT (space, owner, key) DO UPDATE SET stamp = excluded.stamp, position = excluded.position,
                families = excluded.families, value = excluded.value;
        END IF;
    END LOOP;
END $$;
"""


def lock_of(schema: str, what: str) -> int:
    """Returns the number of an advisory lock: locks of other schemas of the database have other numbers."""
    return int.from_bytes(sha256(f"quiesce {what} {schema}".encode()).digest()[:8], "big", signed=True)


def prepare(connection: Connection, schema: str, where: str) -> None:
    """Makes a schema ready: lays out a new one, brings an old one forward, refuses one that is newer or not ours.

    Several processes may do so at once: one does it, under an advisory lock, and the others wait.

    Raises:
        StoreError: it is newer, or somebody else's. Nothing was changed.
    """
    if _said(connection, schema) == VERSION:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_of(schema, "layout")])
        found = _version(connection, schema, where)
        if found == VERSION:
            return
        if not found:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
            connection.execute(f"CREATE TABLE {schema}.layout (version integer NOT NULL)".encode())
            connection.execute(f"INSERT INTO {schema}.layout VALUES (0)".encode())
        for step in STEPS[found:]:
            connection.execute(step.format(schema=schema).encode())
        if found:
            _drop_functions(connection, schema, found)
        connection.execute(_functions(schema).encode())
        connection.execute(f"UPDATE {schema}.layout SET version = %s".encode(), [VERSION])


def _said(connection: Connection, schema: str) -> int | None:
    """Returns which version a schema says that it has; 0 if it is damaged, None if it says nothing."""
    # With pg_class in the query, since to_regclass alone may answer from a cache of before the advisory lock was free.
    query = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass(%s))"
    row = connection.execute(query, [f"{schema}.layout"]).fetchone()
    if row is None or not row[0]:
        return None
    version = connection.execute(f"SELECT max(version) FROM {schema}.layout".encode()).fetchone()
    return 0 if version is None or version[0] is None else int(version[0])


def _version(connection: Connection, schema: str, where: str) -> int:
    """Returns the version of a schema; 0 if there is none, or an empty one that somebody made for us."""
    found = _said(connection, schema)
    if found is None:
        query = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
        others = connection.execute(query, [schema]).fetchone()
        if others is not None and others[0]:
            raise StoreError(
                f"{where}: the schema {schema} holds tables that are not quiesce's. Nothing was changed. "
                f"Name another: …?schema=facts"
            )
        return 0
    if found > VERSION:
        raise NewerFormat(f"{where}, schema {schema},", found, VERSION)
    if found < 1:
        raise StoreError(f"{where}: the schema {schema} is damaged: its table layout names no version. Take a backup")
    return found


def _drop_functions(connection: Connection, schema: str, version: int) -> None:
    rows = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace(%s) AND proname LIKE %s",
        [schema, f"%\\_v{version}"],
    ).fetchall()
    for (name,) in rows:
        connection.execute(f"DROP FUNCTION {name}".encode())


def _functions(schema: str) -> str:
    return FUNCTIONS.format(
        schema=schema,
        version=VERSION,
        lock=lock_of(schema, "families"),
        fenced=FENCED,
        stale=STALE,
        again=AGAIN,
        gone=GONE,
    )
