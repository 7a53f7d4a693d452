"""Holds the drawings of an engine's graph to it that they show who wakes, reads and writes, whatever the names are."""

import re
from collections.abc import Iterator
from typing import Any, Self

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiesce.engine import ANY, Engine, suggestor
from quiesce.engine.draw import to_dot, to_mermaid
from quiesce.facts import All, Fact, Payload, View
from support.strategies import World, engine_of, worlds


class Ticket(Payload, key="seeds", family="draw-ticket"):
    text: str = ""


class Rule(Payload, key="constraints", family="draw-rule"):
    text: str = ""


class Plan(Payload, key="strategies", family="draw-plan"):
    queue: str = ""


class Sum(Payload, key="strategies", family="draw-sum"):
    names: frozenset[str] = frozenset()

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


@suggestor
def plan(ticket: Fact[Ticket], rules: All[Rule]) -> Plan:
    return Plan(queue=ticket.payload.text)


@suggestor(reads=ANY, writes=[Sum])
def audit(view: View) -> None:
    return None


@suggestor(reads=ANY, writes=[Plan], name="draw-ticket")
def plan_again(ticket: Fact[Ticket]) -> None:
    return None


@suggestor(reads=[], writes=[Rule], name="seed")
def seed_rules() -> list[Rule]:
    return [Rule(text="be kind")]


def engine() -> Engine:
    made = Engine([plan, audit])
    made.register(plan_again, pack="money")
    made.register(seed_rules)
    return made


def named(*names: str) -> Engine:
    """Returns an engine of suggestors with these names."""
    return Engine([suggestor(reads=[Ticket], writes=[Plan], name=name)(lambda view: None) for name in names])


MERMAID = """\
flowchart LR
    subgraph k0["seeds"]
        f0(["draw-ticket"])
    end
    subgraph k1["constraints"]
        f1(["draw-rule"])
    end
    subgraph k2["strategies"]
        f3(["draw-plan"])
        f6(["draw-sum"])
    end
    s2["plan"]
    a4{{"anything"}}
    s5["audit"]
    s7["draw-ticket"]
    s8["seed"]
    f0 --> s2
    f0 --> s7
    f1 -.-> s2
    s2 --> f3
    a4 --> s5
    a4 -.-> s7
    s5 --> f6
    s7 --> f3
    s8 --> f1"""

DOT = """\
digraph quiesce {
    rankdir=LR;
    node [shape=box];
    subgraph cluster_0 {
        label="seeds";
        f0 [label="draw-ticket", style=rounded];
    }
    subgraph cluster_1 {
        label="constraints";
        f1 [label="draw-rule", style=rounded];
    }
    subgraph cluster_2 {
        label="strategies";
        f3 [label="draw-plan", style=rounded];
        f6 [label="draw-sum", style=rounded];
    }
    s2 [label="plan"];
    a4 [label="anything", shape=hexagon];
    s5 [label="audit"];
    s7 [label="draw-ticket"];
    s8 [label="seed"];
    f0 -> s2;
    f0 -> s7;
    f1 -> s2 [style=dashed];
    s2 -> f3;
    a4 -> s5;
    a4 -> s7 [style=dashed];
    s5 -> f6;
    s7 -> f3;
    s8 -> f1;
}"""

# What Graphviz's grammar calls tokens: quoted texts, names, edges, punctuation.
DOT_TOKENS = re.compile(r'\s+|(?P<quoted>"(?:\\.|[^"\\])*")|(?P<word>\w+)|(?P<mark>->|[{}\[\];=,])', re.DOTALL)
DOT_ESCAPES = {"\\\\": "\\", '\\"': '"', "&amp;": "&"}
MERMAID_NODE = re.compile(r'\s+[kfsa]\d+(?:\[|\(\[|\{\{)"([^"]*)"(?:\]|\]\)|\}\})')
MERMAID_LINE = re.compile(
    r'flowchart LR|    subgraph k\d+\["[^"]*"\]|    end|        f\d+\(\["[^"]*"\]\)|    s\d+\["[^"]*"\]|'
    r'    a\d+\{\{"anything"\}\}|    [fsa]\d+ (?:-->|-\.->) [fsa]\d+'
)


def dot_tokens(text: str) -> Iterator[str]:
    """Yields the tokens of a text in Graphviz's notation, or fails where there is none."""
    place = 0
    while place < len(text):
        found = DOT_TOKENS.match(text, place)
        assert found, f"no token at {text[place : place + 40]!r}"
        place = found.end()
        if found.lastgroup:
            yield found.group()


def labels_in_dot(text: str) -> list[str]:
    """Returns the labels that a viewer would show."""
    tokens = list(dot_tokens(text))
    quoted = [value for name, _, value in zip(tokens, tokens[1:], tokens[2:], strict=False) if name == "label"]
    return [re.sub(r"\\.|&(?:amp;)?", lambda found: DOT_ESCAPES[found.group()], label[1:-1]) for label in quoted]


def labels_in_mermaid(text: str) -> list[str]:
    """Returns the labels that a viewer would show, of lines that are nothing but what mermaid knows."""
    lines = text.split("\n")
    assert [] == [line for line in lines if not MERMAID_LINE.fullmatch(line)]
    labels = [found.group(1) for line in lines if (found := MERMAID_NODE.search(line))]
    return [re.sub(r"#(\d+);", lambda found: chr(int(found.group(1))), label) for label in labels]


def names_in(graph: "networkx.MultiDiGraph[str]") -> list[str]:
    return [known["name"] for _, known in graph.nodes(data=True)]


# Names as nasty as a suggestor may have them: printable, no "/".
NAMES = st.lists(
    st.one_of(
        st.text('"[]{}()<>|\\`#%;:&=\'aN-> \u00e9\u6f22\U0001f600', min_size=1, max_size=12),
        st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
        st.sampled_from(['"];end', "%%{init: {}}%%", "style x:#;", "#quot;", "&quot;", "\\N", "\\", "`md`", "end"]),
    ).filter(lambda name: bool(name.strip()) and name.isprintable() and "/" not in name),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip


@given(worlds())
def test_every_edge_is_a_declaration(world: World) -> None:
    """The graph has an edge for each thing that wakes, is read or is written, and no other."""
    made = engine_of(world)
    expected = set()
    for one in made.suggestors:
        node, wakes = f"suggestor:{one.name}", one.wakes
        expected |= {(node, f"family:{family.name}", "writes") for family in one.families.values()}
        if wakes is None:
            expected.add(("anything", node, "wakes"))
        for family in one.read_names or ():
            expected.add((f"family:{family}", node, "wakes" if family in (wakes or ()) else "reads"))

    assert expected == set(made.graph().edges(data="kind"))


@given(NAMES)
def test_any_name_is_shown_as_it_is_in_mermaid(names: list[str]) -> None:
    made = named(*names)

    assert sorted([*names_in(made.graph()), "seeds", "strategies"]) == sorted(labels_in_mermaid(made.mermaid()))


@given(NAMES)
def test_any_name_is_shown_as_it_is_in_dot(names: list[str]) -> None:
    made = named(*names)

    assert sorted([*names_in(made.graph()), "seeds", "strategies"]) == sorted(labels_in_dot(made.dot()))


@given(worlds())
def test_drawings_of_equal_engines_are_equal(world: World) -> None:
    """Each node and edge stands in them once."""
    one, two = engine_of(world), engine_of(world)
    mermaid, dot = one.mermaid().split("\n"), list(dot_tokens(one.dot()))

    assert (two.mermaid(), two.dot()) == (one.mermaid(), one.dot())
    assert len(one.graph().edges) == sum("->" in line for line in mermaid) == dot.count("->")
    assert dot.count("{") == dot.count("}")


def test_a_graph_in_mermaid() -> None:
    assert MERMAID == engine().mermaid()


def test_a_graph_in_dot() -> None:
    assert DOT == engine().dot()


def test_hostile_names_keep_to_their_label() -> None:
    """Everything that mermaid could take for its own is a number; in dot a name cannot end its quotes."""
    made = named('"]; end', "%%{init}%%", "style a:#b;", "\\")

    assert [
        's1["#34;#93;#59; end"]',
        's3["#37;#37;#123;init#125;#37;#37;"]',
        's4["style a#58;#35;b#59;"]',
        's5["#92;"]',
    ] == re.findall(r"s\d.*]$", made.mermaid(), re.MULTILINE)
    assert ['"\\"]; end"', '"%%{init}%%"', '"style a:#b;"', '"\\\\"'] == re.findall(r"s\d \[label=(.*)];", made.dot())


def test_a_suggestor_and_a_family_of_one_name_are_two_nodes() -> None:
    nodes = engine().graph().nodes

    assert ("family", "seeds", None) == tuple(nodes["family:draw-ticket"][part] for part in ("kind", "key", "pack"))
    assert ("suggestor", None, "money") == tuple(
        nodes["suggestor:draw-ticket"][part] for part in ("kind", "key", "pack")
    )
    assert {"draw-sum"} == {known["name"] for _, known in nodes(data=True) if known.get("join")}


@pytest.mark.parametrize(("draw", "drawn"), [(to_mermaid, "flowchart LR"), (to_dot, "digraph quiesce {")])
def test_a_part_of_a_graph_can_be_drawn(draw: Any, drawn: str) -> None:
    """Whoever takes nodes away from the graph still gets a drawing of what is left."""
    graph = engine().graph()
    graph.remove_nodes_from(["anything", "suggestor:audit", "family:draw-sum"])
    text = draw(graph)

    assert drawn == text.split("\n")[0]
    assert (True, False) == ("draw-plan" in text, "audit" in text)
