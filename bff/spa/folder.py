"""The folder on disk: finds a file, opens it, and knows which version it is. Blocking.

Rules: a file is served only if it lies in the folder after symbolic links are followed, the
folder's own anew each time, so that a release can be switched by a link. Only regular files. The
version is a hash of the content: build tools set all dates alike, and a new page of the same length
must not look like the old one. It is computed once, as long as the file is untouched. The start
page is kept in memory; everything else is read from the file, which the system caches.

A compressed form beside a file (`app.js.br`, `app.js.gz`) is used unless it is older.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import structlog

from bff.spa.codings import IDENTITY, SUFFIXES, choose_coding
from bff.spa.conditions import Validators

INDEX = ("index.html",)
NONCE = b"BFF_CSP_NONCE"
SMALL = 1_048_576
_MAX_KNOWN = 4096
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe without a writer would hold the thread
    | getattr(os, "O_NOFOLLOW", 0)  # links have been followed; one put here since is not
    | getattr(os, "O_BINARY", 0)
)
_NO_SUCH_FILE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO}
)
_Signature = tuple[int, ...]

log = structlog.get_logger("bff.spa")


@dataclass(slots=True)
class OpenFile:
    """A file to be served, open; whoever gets it closes it.

    `coding` is that of its bytes. `with_nonce`: a page whose content holds `BFF_CSP_NONCE`, which
    is to be replaced in each answer; it is small, and has no compressed form.
    """

    file: FileIO
    version: Validators
    size: int
    coding: str = IDENTITY
    with_nonce: bool = False
    kept: bytes | None = None

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of it. Raises EOFError where it has become shorter."""
        if self.kept is not None:
            return self.kept[start : start + length]
        self.file.seek(start)
        data = self.file.read(length)
        if len(data) < length:
            raise EOFError("the file has become shorter")
        return data

    def close(self) -> None:
        """Close it."""
        self.file.close()


@dataclass(frozen=True, slots=True)
class _Known:
    """What was computed of a file, good while `signature` is the same."""

    signature: _Signature
    digest: str
    with_nonce: bool
    content: bytes | None


class Folder:
    """The folder of a built application. Its methods may run in several threads at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, _Known] = {}

    def open(self, names: Sequence[str], accept_encoding: str | None) -> OpenFile | None:
        """Open a file in the form that the client takes; None where there is none.

        Raises OSError where the system cannot read, other than for the file itself.
        """
        path = self._path(names)
        plain = None if path is None else self._open(path, keep=tuple(names) == INDEX)
        if plain is None or path is None or plain.with_nonce or accept_encoding is None:
            return plain
        coding = choose_coding(accept_encoding, self._forms(path, plain))
        if coding == IDENTITY:
            return plain
        beside = self._path([*names[:-1], names[-1] + SUFFIXES[coding]])
        coded = None if beside is None else self._open(beside, keep=tuple(names) == INDEX)
        if coded is None:
            return plain
        plain.close()
        coded.coding = coding
        coded.with_nonce = False
        return coded

    def is_folder(self, names: Sequence[str]) -> bool:
        """Whether these names lead to a folder with a page of its own."""
        path = self._path([*names, *INDEX])
        return path is not None and os.path.isfile(path)  # noqa: PTH113 - never raises

    def _path(self, names: Sequence[str]) -> str | None:
        """Return where the names lead after links are followed; None where that is outside."""
        root = os.path.realpath(self._folder)
        path = os.path.realpath(os.path.join(root, *names))  # noqa: PTH118 - strings are cheaper
        return path if path.startswith(root.rstrip(os.sep) + os.sep) else None

    def _open(self, path: str, *, keep: bool) -> OpenFile | None:
        try:
            number = os.open(path, _FLAGS)
        except OSError as error:
            if isinstance(error, PermissionError):
                log.warning("spa.unreadable", file=os.path.basename(path))  # noqa: PTH119
            elif error.errno not in _NO_SUCH_FILE:
                raise
            return None
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            return None
        file = FileIO(number, "rb")
        try:
            return self._described(path, file, found, keep=keep)
        except BaseException:
            file.close()
            raise

    def _described(self, path: str, file: FileIO, found: os.stat_result, *, keep: bool) -> OpenFile:
        signature = (
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
        )  # fmt: skip
        known = self._known.get(path)
        if known is None or known.signature != signature:
            known = _examine(path, file, signature, keep=keep and found.st_size <= SMALL)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[path] = known
        version = Validators(f'"{known.digest}"', int(found.st_mtime))
        return OpenFile(
            file, version, found.st_size, with_nonce=known.with_nonce, kept=known.content
        )

    def _forms(self, path: str, plain: OpenFile) -> set[str]:
        forms: set[str] = set()
        changed = os.fstat(plain.file.fileno()).st_mtime_ns
        for coding, suffix in SUFFIXES.items():
            with suppress(OSError):
                if os.stat(path + suffix).st_mtime_ns >= changed:  # noqa: PTH116 - as above
                    forms.add(coding)
        return forms


def _examine(path: str, file: FileIO, signature: _Signature, *, keep: bool) -> _Known:
    digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    content = None
    with_nonce = False
    if keep or (path.endswith((".html", ".htm")) and os.fstat(file.fileno()).st_size <= SMALL):
        file.seek(0)
        content = file.read()
        with_nonce = NONCE in content
    return _Known(signature, digest, with_nonce, content if keep else None)
