"""Which VMs a selection names: the pattern language against Python's own, bounded time, and how terms combine."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.controller.policies.pattern import BadPattern, Pattern
from seawall.controller.policies.selection import Seen, selector, unmatched
from seawall.controller.records.policies import Selection, Terms

atoms = st.sampled_from(("a", "b", "-", ".", "[ab]", "[^a]", "[a-b-]", r"\d", r"\.", "0", r"[\d_]"))
tails = st.sampled_from(("", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}"))


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    part = st.tuples(inner, tails).map(lambda both: f"({both[0]}){both[1]}")
    way = st.lists(part, min_size=1, max_size=3).map("".join)
    return st.lists(way, min_size=1, max_size=2).map("|".join)


patterns = st.recursive(st.tuples(atoms, tails).map("".join), _joined, max_leaves=6)
names = st.text("ab-.01_", max_size=12)


@given(patterns, st.lists(names, max_size=8))
@settings(max_examples=120, deadline=None)
def test_a_pattern_means_what_python_means(pattern: str, names: list[str]) -> None:
    compiled = Pattern(pattern)
    assert [compiled.matches(name) for name in names] == [
        re.fullmatch(pattern, name, re.ASCII | re.DOTALL) is not None for name in names
    ]


def test_the_ends_may_be_marked() -> None:
    for text in ("^db-.*$", "db-.*", "^db-.*", "db-.*$"):
        assert Pattern(text).matches("db-1")
        assert not Pattern(text).matches("my-db-1")
    assert Pattern(r"a\$").matches("a$")
    assert Pattern(r"a\\$").matches("a\\")


def test_nothing_takes_long() -> None:
    """What makes a backtracking matcher think for years."""
    begin = time.monotonic()
    for text in ("(a+)+$", "(a|a)*b", "(a|aa)+c", "((a*)*)*d", "(.*,){30}x", "(a?){50}a{50}"):
        Pattern(text).matches("a" * 253)
    assert time.monotonic() - begin < 5


BROKEN = "( ) (a [a * +a a{ a{x} a{3,1} a{1000} a^b a$b \\ \\1 \\b (?=a) [z-a] [ [^ a||* ((a{100}){100}){100}"


@pytest.mark.parametrize(
    "text", [*BROKEN.split(), "a" * 201, "(" * 40 + "a" + ")" * 40, "()" + "{100}" * 9, "a{0}" + "{100}" * 9]
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(text)


WEB = Seen("1", "web", "h1", "alpha", frozenset({"gold", "eu"}))
DB = Seen("2", "db-1", "h2", "beta", frozenset())
OLD = Seen("3", "old", "h2", "beta", frozenset({"scratch"}))


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        (Terms(names=("web", "2")), "web db-1"),
        (Terms(hosts=("beta",)), "db-1 old"),
        (Terms(hosts=("h1",)), "web"),
        (Terms(tags=("gold", "scratch")), "web old"),
        (Terms(pattern="[a-z]+"), "web old"),
        (Terms(names=("old",), pattern="db-.*", tags=("eu",)), "web db-1 old"),
        (Terms(names=("WEB",)), ""),
    ],
)
def test_terms_and_their_opposite(terms: Terms, named: str) -> None:
    every = (WEB, DB, OLD)
    assert [vm.name for vm in every if selector(Selection(False, terms, Terms()))(vm)] == named.split()
    others = [vm.name for vm in every if vm.name not in named.split()]
    assert [vm.name for vm in every if selector(Selection(True, Terms(), terms))(vm)] == others


def test_an_exception_wins() -> None:
    both = selector(Selection(False, Terms(names=("web",)), Terms(tags=("gold",))))
    assert not both(WEB)


def test_what_nothing_has_is_named() -> None:
    terms = Terms(names=("web", "nobody"), hosts=("beta", "gamma"), tags=("gold", "silver"))
    assert unmatched(terms, [WEB, DB]) == ["VM nobody", "host gamma", "tag silver"]
