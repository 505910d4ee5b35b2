"""The ``bff`` command, also as ``python -m bff``.

Loading what it needs takes a second. Ctrl-C ends it in that time too, without a traceback.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bff.cli import main as run  # noqa: PLC0415 - what takes the second

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
