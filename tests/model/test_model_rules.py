"""The model, searched whole: with all rules nothing is ever lost and everything is tidied up; without any one of them something is."""

import pytest

from model.rules import Rule, Scope
from model.scopes import ALL, CAUGHT_IN, LARGE
from model.search import search


@pytest.mark.parametrize("scope", ALL, ids=lambda scope: scope.name)
def test_with_all_rules_nothing_goes_wrong(scope: Scope) -> None:
    found = search(scope)
    assert not found.wrong, str(found)
    assert found.states > 50  # else the scope is too small to mean anything


@pytest.mark.slow
@pytest.mark.parametrize("scope", LARGE, ids=lambda scope: scope.name)
def test_with_all_rules_nothing_goes_wrong_in_large_scopes(scope: Scope) -> None:
    found = search(scope, 2_000_000)
    assert not found.wrong, str(found)


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.name)
def test_without_a_rule_something_does(rule: Rule) -> None:
    found = search(CAUGHT_IN[rule].without(rule), ends=False)
    assert found.wrong, f"nobody misses the rule {rule.value} in {CAUGHT_IN[rule].name}"
    assert found.history
