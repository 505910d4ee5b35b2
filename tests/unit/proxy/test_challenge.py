"""What an upstream asks of the sign-in (RFC 9470), and what of it may go into a URL of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.proxy.challenge import TOO_WEAK, StepUp, bearer_challenge, bearer_error, step_up

ASKS = f'Bearer error="{TOO_WEAK}", '


def asked(*challenges: str) -> StepUp:
    """Return what answers with these challenges ask for."""
    return step_up(
        bearer_challenge([(b"www-authenticate", one.encode("latin-1")) for one in challenges])
    )


@pytest.mark.parametrize(
    ("challenge", "found"),
    [
        (ASKS + 'acr_values="gold"', StepUp("gold", None)),
        (ASKS + 'acr_values="gold silver", max_age="300"', StepUp("gold silver", 300)),
        (ASKS + "max_age=0", StepUp(None, 0)),
        (ASKS + 'max_age="5", max_age="9"', StepUp(None, 5)),
        (ASKS + 'acr_values="urn:a:b", scope="x"', StepUp("urn:a:b", None)),
        (ASKS + r'acr_values="a\"b\\c"', StepUp('a"b\\c', None)),
        (ASKS + 'ACR_Values=gold, MAX_AGE="1"', StepUp("gold", 1)),
        (f'dPoP error={TOO_WEAK}, acr_values="gold"', StepUp("gold", None)),
        (f'Basic realm="a, b", Bearer realm="x", error="{TOO_WEAK}", max_age=7', StepUp(None, 7)),
        (ASKS + 'error_description="acr_values=evil, max_age=1"', StepUp()),
        (ASKS + 'realm="x", Basic acr_values="evil", max_age=1', StepUp()),
    ],
)
def test_what_is_asked_for(challenge: str, found: StepUp) -> None:
    """It is read by the grammar of challenges, in all its forms."""
    assert asked(challenge) == found


@pytest.mark.parametrize(
    "parameter",
    [
        'acr_values=""', 'acr_values=" gold"', 'acr_values="gold  silver"', 'acr_values="a\tb"',
        'acr_values="caf\xe9"', 'acr_values="' + "a" * 401 + '"',
        'acr_values="1 2 3 4 5 6 7 8 9"', "max_age=-1", "max_age=1.5", "max_age=", 'max_age="1 2"',
        "max_age=9999999999", "max_age=99999999", "max_age=\xb2",
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_as_if_it_were_not_there(parameter: str) -> None:
    """Nothing that the specification does not allow gets into our address."""
    assert asked(ASKS + parameter) == StepUp()


def test_the_challenge_with_an_error_counts() -> None:
    """One without, before or after it, is another matter."""
    assert asked("Bearer max_age=1", ASKS + "max_age=2", "Bearer max_age=3") == StepUp(None, 2)
    assert asked(ASKS + "max_age=2, Bearer max_age=3, error=x") == StepUp(None, 2)


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_header_is_read_without_a_fault(values: list[str]) -> None:
    """Whatever an upstream sends, what comes of it is within bounds."""
    fields = [(b"www-authenticate", one.encode("utf-8", "replace")) for one in values]
    bearer_error(fields)
    found = step_up(bearer_challenge(fields))
    assert found.max_age is None or 0 <= found.max_age <= 31_536_000
    assert found.acr_values is None or found.acr_values.isascii()


@given(st.lists(st.text("abc:/-._", min_size=1, max_size=20), min_size=1, max_size=8))
def test_values_come_through_as_they_are(values: list[str]) -> None:
    """What is well-formed is asked for to the letter."""
    wanted = " ".join(values)
    assert asked(f'{ASKS}acr_values="{wanted}"') == StepUp(wanted, None)
