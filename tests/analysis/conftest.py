"""One browser for all tests of a process that need one."""

from collections.abc import Iterator

import pytest

from tests.analysis.output.browser import CHROMIUM, NO_CHROMIUM, Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its pages are independent of each other; the tests are skipped without Chromium."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with Browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running
