"""`bff keys`: files of private keys are made, shown, and moved a step on without a gap."""

from __future__ import annotations

import json
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from bff import key_file
from bff.cli import EncryptionAlg, SigningAlg, app
from bff.oidc.client_keys import BadClientKeyError, ClientKeys
from tests.support.jose import ec, rsa


def names(keys: ClientKeys) -> tuple[list[str], list[str]]:
    """Return the names of the keys for signatures, and of those for encryption."""
    signing = [str(one.key.kid) for one in keys.signing]
    return signing, [str(one.key.kid) for one in keys.decryption]


@pytest.mark.parametrize("alg", get_args(SigningAlg))
def test_a_new_file_is_ready_for_rotation(tmp_path: Path, alg: str) -> None:
    """Two keys for signatures, both published, in a file that only its owner reads."""
    path = tmp_path / "keys.json"
    keys = key_file.make(path, alg, None)
    assert [one.alg for one in keys.signing] == [alg, alg]
    assert len({one["kid"] for one in keys.published()}) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(key_file.read(path)) == names(keys)


@pytest.mark.parametrize("alg", get_args(EncryptionAlg))
def test_keys_for_encryption_are_made_on_demand(tmp_path: Path, alg: str) -> None:
    """With a new file, or later; not twice."""
    path = tmp_path / "keys.json"
    before = key_file.make(path, "ES256", None)
    keys = key_file.add_encryption(path, alg)
    assert [one.algs for one in keys.decryption] == [{alg}, {alg}]
    assert names(keys)[0] == names(before)[0]
    with pytest.raises(BadClientKeyError, match="already"):
        key_file.add_encryption(path, alg)
    assert key_file.make(tmp_path / "other.json", "ES256", alg).decryption[0].algs == {alg}


def test_a_rotation_leaves_no_gap(tmp_path: Path) -> None:
    """The next key becomes the first, which was published before; the last one stays one turn."""
    path = tmp_path / "keys.json"
    seen = [key_file.make(path, "ES256", "ECDH-ES")]
    seen += [key_file.rotate(path, None) for _ in range(3)]
    for before, after in pairwise(seen):
        for old, new in zip(names(before), names(after), strict=True):
            assert new[0] == old[1], "what is used now was there before"
            assert new[2] == old[0], "what was used is still there"
            assert len(new) == 3
        assert {one["kid"] for one in before.published()} >= {names(after)[0][0]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["keys.json"]


def test_a_single_key_gets_a_successor_first(tmp_path: Path) -> None:
    """A key that somebody brought goes on signing until the provider knows the next one."""
    path = tmp_path / "key.json"
    members = {**rsa().as_dict(private=True), "kid": "mine", "alg": "RS256"}
    path.write_text(json.dumps(members))
    first = key_file.rotate(path, None)
    assert [one.alg for one in first.signing] == ["RS256", "RS256"]
    assert names(first)[0][0] == "mine"
    second = key_file.rotate(path, "ES256")
    assert [one.alg for one in second.signing] == ["RS256", "ES256", "RS256"]


def test_a_key_of_several_algorithms_stays_so(tmp_path: Path) -> None:
    """A rotation narrows nothing that the provider may use."""
    path = tmp_path / "keys.json"
    encryption = {**rsa("enc").as_dict(private=True), "kid": "e", "use": "enc"}
    path.write_text(json.dumps({"keys": [encryption]}))
    keys = key_file.rotate(path, None)
    assert [one.algs for one in keys.decryption] == [
        {"RSA-OAEP", "RSA-OAEP-256"}, {"RSA-OAEP-256"},
    ]  # fmt: skip


def test_pem_is_shown_but_not_changed(tmp_path: Path) -> None:
    """A file that another tool made stays as it is."""
    path = tmp_path / "key.pem"
    path.write_bytes(ec().as_pem(private=True))
    assert key_file.read(path).signer is not None
    with pytest.raises(BadClientKeyError, match="PEM"):
        key_file.rotate(path, None)
    assert path.read_bytes() == ec().as_pem(private=True)


def run(*arguments: object) -> Any:
    """Run `bff keys`."""
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def test_the_command_makes_shows_and_rotates(tmp_path: Path) -> None:
    """What is printed is the public JWK Set and nothing private; the same file is shown again."""
    path = tmp_path / "keys.json"
    made = run(path, "--encryption", "RSA-OAEP-256")
    shown = run(path)
    assert (made.exit_code, shown.exit_code) == (0, 0)
    assert json.loads(made.stdout) == json.loads(shown.stdout)
    published = json.loads(made.stdout)["keys"]
    assert [one["use"] for one in published] == ["sig", "sig", "enc"]
    private = {
        value
        for member in json.loads(path.read_text())["keys"]
        for name, value in member.items()
        if name in {"d", "p", "q", "dp", "dq", "qi"}
    }
    assert not [value for value in private if value in made.output]
    turned = json.loads(run(path, "--rotate", "--alg", "PS256").stdout)["keys"]
    assert [one["alg"] for one in turned] == ["ES256", "PS256", "ES256", "RSA-OAEP-256"]
    assert turned[0]["kid"] == published[1]["kid"]


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """A fault is one line on standard error, and code 2."""
    (tmp_path / "nonsense").write_text("nonsense")
    for arguments in (
        (tmp_path / "nonsense",),
        (tmp_path / "none", "--rotate"),
        (tmp_path / "no" / "folder",),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert done.stderr.startswith("bff: ")
        assert done.stderr.count("\n") == 1
