"""The text form of join tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.api.join_token import JoinToken, parse_join_token

GOOD = JoinToken("controller.example:7440", "abc", "s3cret-_", bytes(range(32)))


@given(
    address=st.one_of(
        st.from_regex(r"[a-z0-9.-]{1,40}:([1-9][0-9]{0,3})", fullmatch=True),
        st.from_regex(r"\[[0-9a-f:]{2,39}\]:([1-9][0-9]{0,3})", fullmatch=True),
    ),
    token_id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    secret=st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True),
    ca=st.binary(min_size=32, max_size=32),
)
def test_what_is_rendered_parses_as_itself(address: str, token_id: str, secret: str, ca: bytes) -> None:
    token = JoinToken(address, token_id, secret, ca)
    assert parse_join_token(f"  {token.render()}\n") == token


def test_the_form_is_fixed() -> None:
    assert GOOD.render() == f"sw1:controller.example:7440:abc.s3cret-_:{bytes(range(32)).hex()}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sw1:",
        GOOD.render()[:-1],
        GOOD.render() + "0",
        GOOD.render().replace("sw1", "sw2"),
        GOOD.render().replace(":7440", ""),
        GOOD.render().replace(":7440", ":0"),
        GOOD.render().replace(":7440", ":65536"),
        GOOD.render().replace("abc.", "abc"),
        GOOD.render().replace("abc", "a bc"),
    ],
)
def test_what_is_no_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="looks like sw1:") as caught:
        parse_join_token(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["nowhere", "a:b:1", ""])
def test_what_could_not_be_parsed_back_is_not_rendered(address: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        JoinToken(address, "abc", "s", bytes(32)).render()


def test_the_secret_does_not_show() -> None:
    assert "s3cret" not in repr(GOOD)


def test_several_controllers_stand_in_one_token() -> None:
    token = JoinToken("a.example:7440,[::1]:7441", "abc", "s", bytes(32))
    assert parse_join_token(token.render()) == token
    assert token.addresses == ("a.example:7440", "[::1]:7441")
    for address in ("a:1,", ",a:1", "a:1,b", "a:1,b:0", "a:1,b:70000"):
        with pytest.raises(ValueError, match="looks like"):
            JoinToken(address, "abc", "s", bytes(32)).render()
