"""JSON from strangers: what is one clear object, and everything that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.oidc.json import MAX_DEPTH, BadJsonError, is_array, is_object, parse_object


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        ("{}", {}),
        (b' {"a": [1, 2.5, null, true, "x"]} ', {"a": [1, 2.5, None, True, "x"]}),
        ('{"caf\u00e9": "\u20ac"}'.encode(), {"caf\u00e9": "\u20ac"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": {"b": 1}, "b": {"b": 1}}', {"a": {"b": 1}, "b": {"b": 1}}),
    ],
)
def test_an_object_is_read(data: bytes | str, value: dict[str, Any]) -> None:
    """A JSON object in UTF-8 is what it says."""
    assert parse_object(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"nonsense", b"[]", b"1", b'"a"', b"null", b"true", b"{", b"{}x", b"{'a': 1}",
        b'{"a": 1, "a": 1}', b'{"a": 1, "a": 2}', b'{"x": {"a": 1, "a": 2}}',
        b'{"a": 1, "\\u0061": 2}', b'[{"a": 1, "a": 2}]',
        b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}',
        b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": ["\\ude00\\ud83d"]}',
        b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"), b'{"a": "\n"}', b'{"a": 1,}', b'{"a": 01}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: bytes) -> None:
    """No object, no JSON, a doubled member, a number that is none, text that cannot be written."""
    with pytest.raises(BadJsonError):
        parse_object(data)


@pytest.mark.parametrize("depth", [MAX_DEPTH, 1000, 10_000, 100_000, 1_000_000])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused(depth: int, begin: bytes, end: bytes) -> None:
    """Nesting deeper than anything real is an error of the sender, not a crash."""
    with pytest.raises(BadJsonError):
        parse_object(b'{"a":' + begin * depth + b"1" + end * depth + b"}")


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_just_deep_enough_is_read(begin: bytes, end: bytes) -> None:
    """The limit counts levels, not brackets: there may be many of them, and in strings too."""
    depth = MAX_DEPTH - 1
    plain = b'{"a":' + begin * depth + b"1" + end * depth + b',"b":"' + b"[{" * 1000 + b'"}'
    assert parse_object(plain).keys() == {"a", "b"}


def test_a_large_object_is_read() -> None:
    """Size is limited where the bytes come in, not here."""
    assert len(parse_object(json.dumps({"keys": [{}] * 10_000}))["keys"]) == 10_000
    members = {f"name{number}": "x" * 100 for number in range(10_000)}
    assert parse_object(json.dumps(members)) == members


TEXT = st.text() | st.text(st.characters(categories=["Cs", "L"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_what_was_written_is_read_back(value: dict[str, Any]) -> None:
    """An object that can be written in UTF-8 is read back as it was; any other is refused."""
    try:
        plain = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(BadJsonError):
            parse_object(json.dumps(value).encode())
    else:
        assert parse_object(plain) == parse_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_no_bytes_make_it_stumble(data: bytes) -> None:
    """Bytes give an object or BadJsonError, and nothing else."""
    try:
        value = parse_object(data)
    except BadJsonError:
        return
    assert is_object(value)


def test_kinds_are_told_apart() -> None:
    """An object is no array."""
    assert is_object({})
    assert not is_object([])
    assert is_array([])
    assert not is_array({})
    assert not is_array(())
