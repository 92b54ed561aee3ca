"""What commands of the study do with what they cannot do."""

from collections.abc import Callable, Sequence

import pytest


def refused(
    capsys: pytest.CaptureFixture[str],
    command: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    message: str,
    status: int = 2,
) -> None:
    """The command ends with this status and one line, which has the message in it."""
    assert command(arguments) == status
    (line,) = capsys.readouterr().err.encode(errors="backslashreplace").decode().splitlines()
    assert message in line
