"""Who may do what: rights are inherited along memberships, with cycles in the data, until nothing new follows.

    python examples/closure.py

One rule: whoever belongs to a group has the rights of the group. `Rights` is revisable: two of them join to their
union, so a name has one fact that only grows, whoever says what first. That is why the run ends although two groups
belong to each other: once both have the rights of both, every proposal says what is known already.
"""

from collections.abc import Iterator
from typing import Self

from quiesce.engine import Engine, Proposal, propose, suggestor
from quiesce.facts import Context, Fact, Payload, View
from quiesce.facts.testing import check_join


class Members(Payload, key="seeds"):
    """Who belongs to the group that the fact is named after."""

    names: frozenset[str]

    def join(self, other: Self) -> Self:
        return type(self)(names=self.names | other.names)


class Rights(Payload, key="strategies"):
    """What the one that the fact is named after may do."""

    to: frozenset[str]

    def join(self, other: Self) -> Self:
        return type(self)(to=self.to | other.to)


class Role(Payload, key="strategies"):
    """What `collect` writes instead of Rights: without a join, to see what `check` says."""

    to: str


@suggestor(reads=(Members, Rights), writes=[Rights])
def inherit(view: View) -> Iterator[Proposal[Rights]]:
    """Looks at what changed since it last ran, and at nothing else."""
    for group in sorted({fact.id for part in (Members, Rights) for fact in view.new(part)}):
        members, rights = view.get(Members, group), view.get(Rights, group)
        if members and rights:
            for name in sorted(members.payload.names):
                yield propose(rights.payload, id=name, because=[members, rights])


@suggestor
def collect(role: Fact[Role]) -> Role:
    return Role(to=f"{role.payload.to}, audit")


engine = Engine([inherit])

GROUPS = {"everyone": {"staff", "guests"}, "staff": {"ops", "dev"}, "ops": {"ana", "dev"}, "dev": {"ben", "ops"}}
GRANTS = {"everyone": {"read"}, "staff": {"write"}, "ops": {"deploy"}, "ben": {"merge"}}


def groups() -> Context:
    """Returns the data; ops and dev belong to each other."""
    context = Context()
    for group, names in GROUPS.items():
        context.add(Members(names=frozenset(names)), id=group)
    for name, rights in GRANTS.items():
        context.add(Rights(to=frozenset(rights)), id=name)
    return context


def show(context: Context) -> None:
    for name, fact in sorted(context.of(Rights).items()):
        print(f"  {name:9} {', '.join(sorted(fact.payload.to))}")


def main() -> None:
    check_join([Rights(to=frozenset(to)) for to in ({"read"}, {"write"}, {"read", "deploy"}, set[str]())])
    print("Rights.join is commutative, associative and idempotent on these samples")

    print("\nWhat check says before any run:")
    for finding in [*engine.check([Members, Rights]), *Engine([collect]).check([Role])]:
        print(f"  {finding.level}: {finding.message}")

    result = engine.run_sync(groups(), run_id="closure", seed=1)
    print(f"\n{result}")
    show(result.context)

    again = engine.run_sync(result.context, run_id="again", seed=1)
    print(f"\n{again}: it is quiescent, so nobody was called")

    result.context.add(Members(names=frozenset({"zoe"})), id="dev")  # joins: ben and ops stay members
    grown = engine.run_sync(result.context, run_id="grown", seed=1)
    print(f"\nzoe joins dev: {grown}")
    show(grown.context)
    print(f"\n{grown.why('rights:zoe')}")


if __name__ == "__main__":
    main()
