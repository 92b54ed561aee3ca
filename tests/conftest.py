"""One torch thread per test process: pytest-xdist already uses every core, and bits depend on the thread count.

Hypothesis draws the same examples in every run.
"""

import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

pytest.register_assert_rewrite("tests.commands", "tests.cluster.multinode")
torch.set_num_threads(1)
settings.register_profile("same", deadline=None, derandomize=True, database=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """A test depends on no other by torch's seed or by the signal handlers that commands install."""
    torch.manual_seed(0)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where torch sees no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no GPU"))
