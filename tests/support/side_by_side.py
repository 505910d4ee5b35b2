"""How several processes share the tests: as many as are of use, and what is dear is started once.

pytest-xdist hands out files, in their order: the long ones come first, and unit tests fill up the
end. Folders whose tests share many processes stay together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

TOGETHER = ("tests/browser", "tests/contracts", "tests/deploy", "tests/hostile")
MOST = 6  # processes; more would wait for the longest folder


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: one a processor, since what tests start works too; none for a file alone."""
    files = {config.invocation_params.dir / name.partition("::")[0] for name in config.args}
    if len(files) == 1 and all(file.is_file() for file in files):
        return 0
    return min(os.cpu_count() or 1, MOST)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out files, or whole folders."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            folder = file.rpartition("/")[0]
            return folder if folder in TOGETHER else file

    return Files(config, log)
