"""The folder on disk: links, versions, compressed forms, and what is no file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from bff.spa.folder import Folder, OpenFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a start page and a script; beside it, what must not be reached."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "spa"
    (folder / "docs").mkdir(parents=True)
    (folder / "index.html").write_text("start")
    (folder / "app.js").write_text("let a")
    return folder


def content(folder: Folder, *names: str, accepts: str | None = None) -> bytes | None:
    """Return what a file holds in the form that is chosen, None where there is none."""
    found = folder.open(names, accepts)
    return None if found is None else read(found)


def read(found: OpenFile) -> bytes:
    """Read a file to its end and close it."""
    try:
        return found.read(0, found.size)
    finally:
        found.close()


def etag(folder: Folder, *names: str, accepts: str | None = None) -> str:
    """Return the version of a file."""
    found = folder.open(names, accepts)
    assert found is not None
    found.close()
    return found.version.etag


def test_links_out_of_the_folder_lead_nowhere(root: Path) -> None:
    """To a file, to a folder, relative, by way of another link; a brother that shares its name."""
    (root / "out.txt").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to("..")
    (root / "twice").symlink_to(root / "up")
    (root.parent / "spa-other").mkdir()
    (root.parent / "spa-other" / "x.txt").write_text("other")
    (root / "brother").symlink_to(root.parent / "spa-other")
    folder = Folder(root)
    for names in (
        ("out.txt",),
        ("up", "secret.txt"),
        ("twice", "secret.txt"),
        ("brother", "x.txt"),
    ):
        assert content(folder, *names) is None
    assert content(folder, "up", "spa", "app.js") == b"let a", "it leads back in"


def test_compressed_forms_do_not_lead_out_either(root: Path) -> None:
    """A link beside a file is judged as a file is."""
    (root / "app.js.br").symlink_to(root.parent / "secret.txt")
    assert content(Folder(root), "app.js", accepts="br") == b"let a"


def test_links_within_the_folder_are_followed(root: Path) -> None:
    """As Kubernetes mounts a ConfigMap: by links through a folder whose name begins with dots."""
    (root / "..2026").mkdir()
    (root / "..2026" / "config.json").write_text("{}")
    (root / "..data").symlink_to("..2026")
    (root / "config.json").symlink_to("..data/config.json")
    assert content(Folder(root), "config.json") == b"{}"


def test_a_release_is_switched_by_a_link(root: Path) -> None:
    """The folder itself may be a link; another release is served from the next request on."""
    current = root.parent / "current"
    current.symlink_to(root)
    folder = Folder(current)
    assert content(folder, "index.html") == b"start"
    release = root.parent / "release-2"
    release.mkdir()
    (release / "index.html").write_text("second")
    current.unlink()
    current.symlink_to(release)
    assert content(folder, "index.html") == b"second"


def test_a_version_is_of_the_content(root: Path) -> None:
    """A page of the same length and date is another version; an untouched file the same one."""
    folder = Folder(root)
    page = root / "index.html"
    os.utime(page, (315_532_800, 315_532_800))
    first = etag(folder, "index.html")
    assert etag(folder, "index.html") == first
    page.write_text("START")
    os.utime(page, (315_532_800, 315_532_800))
    assert etag(folder, "index.html") != first
    assert content(folder, "index.html") == b"START"
    page.write_text("start")
    assert etag(folder, "index.html") == first


def test_each_form_has_its_own_version(root: Path) -> None:
    """Forms beside a file are chosen by what the client takes, each under its own tag."""
    (root / "app.js.br").write_bytes(b"b")
    (root / "app.js.gz").write_bytes(b"g")
    folder = Folder(root)
    assert content(folder, "app.js", accepts="gzip, br") == b"b"
    assert content(folder, "app.js", accepts="gzip") == b"g"
    assert content(folder, "app.js", accepts="identity") == b"let a"
    tags = {etag(folder, "app.js", accepts=name) for name in ("br", "gzip", "identity")}
    assert len(tags) == 3


def test_a_form_that_is_older_than_its_file_is_not_used(root: Path) -> None:
    """Who edits a file and forgets the rest still sees the edit."""
    compressed = root / "app.js.gz"
    compressed.write_bytes(b"old")
    changed = (root / "app.js").stat().st_mtime
    os.utime(compressed, (changed - 1, changed - 1))
    assert content(Folder(root), "app.js", accepts="gzip") == b"let a"
    os.utime(compressed, (changed + 1, changed + 1))
    assert content(Folder(root), "app.js", accepts="gzip") == b"old"


def test_a_page_with_a_nonce_is_sent_as_it_is(root: Path) -> None:
    """A compressed form holds the placeholder out of reach, so it is not used."""
    (root / "index.html").write_text('<style nonce="BFF_CSP_NONCE">')
    (root / "index.html.br").write_bytes(b"compressed")
    found = Folder(root).open(("index.html",), "br")
    assert found is not None
    assert found.with_nonce
    assert read(found).startswith(b"<style")


def test_only_regular_files_are_served(root: Path) -> None:
    """No folder, pipe, socket, dangling or circular link, and no name that is too long."""
    os.mkfifo(root / "pipe")
    (root / "dangling").symlink_to("nothing")
    (root / "circle").symlink_to("circle")
    folder = Folder(root)
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        for names in (
            ("docs",), ("pipe",), ("socket",), ("dangling",), ("circle",), ("x" * 5000,),
            ("app.js", "x"), ("x",) * 3000,
        ):  # fmt: skip
            assert content(folder, *names) is None, names[0][:9]
            assert not folder.is_folder(names)


def test_a_folder_has_a_page_of_its_own(root: Path) -> None:
    """Only where an `index.html` is in it."""
    folder = Folder(root)
    assert not folder.is_folder(["docs"])
    (root / "docs" / "index.html").write_text("docs")
    assert folder.is_folder(["docs"])
    assert content(folder, "docs", "index.html") == b"docs"


def test_a_file_that_becomes_shorter_is_noticed(root: Path) -> None:
    """What was promised cannot be sent: an error, never a short answer that looks whole."""
    found = Folder(root).open(("app.js",), None)
    assert found is not None
    (root / "app.js").write_text("")
    with pytest.raises(EOFError):
        read(found)


def test_what_is_known_of_files_does_not_grow_without_end(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of more files than the limit are computed again, and still right."""
    monkeypatch.setattr("bff.spa.folder._MAX_KNOWN", 2)
    folder = Folder(root)
    for number in range(5):
        (root / f"{number}.txt").write_text(str(number))
        assert content(folder, f"{number}.txt") == str(number).encode()
    assert content(folder, "0.txt") == b"0"
    assert len(folder._known) <= 2
