"""``python -m bff`` is the same as the ``bff`` command."""

from __future__ import annotations

from bff.cli import main

main()
