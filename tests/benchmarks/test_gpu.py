"""The GPU benchmark also runs on a CPU, so that a change that breaks it is noticed on a machine without a GPU."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from benchmarks import gpu
from benchmarks.attacks import rows as attack_rows
from benchmarks.row import Row

CHECKED = ["recorded", "together", "attack", "lambda1"]


def check_row(name: str, monkeypatch: pytest.MonkeyPatch, device: str = "cpu", images: int = 32) -> None:
    monkeypatch.setattr("benchmarks.gpu.PGD_STEPS", 2)
    found = list(gpu.rows((name,), device, images))
    assert {row.ratio is None for row in found} == {name == "lambda1"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_each_row_is_checked_and_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_row(name, monkeypatch)


def test_a_row_that_fails_is_named_at_the_end_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: torch.device, images: int) -> Iterator[Row]:
        raise RuntimeError("planted")
        yield

    def works(device: torch.device, images: int) -> Iterator[Row]:
        yield Row("what", "work", "", [1.0], [], "")

    monkeypatch.setattr(gpu, "ROWS", {"first": (fails, 1, 1), "second": (works, 1, 1)})
    found = []
    with pytest.raises(SystemExit, match="first: RuntimeError: planted"):
        found.extend(gpu.rows((), "cpu"))  # extends by what was measured before the exit
    assert [row.what for row in found] == ["what"]


@pytest.mark.slow
def test_the_peer_trains_on_the_same_crops() -> None:
    data = gpu._images("resnet18", 48, torch.device("cpu"))
    run = gpu.run_on(torch.device("cpu"), "resnet18", 16)
    other, epoch = gpu.peer_of("resnet18", 16, data)
    gpu.ours(run, data)
    epoch()
    assert "same weights" in gpu._same_weights(run.model, other, 1e-5)


def test_the_commands_start_without_their_peers() -> None:
    code = "import sys; sys.modules.update(torchattacks=None, foolbox=None); import benchmarks.attacks, benchmarks.gpu"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_attack_is_compared_at_the_peers_batch_and_at_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.attacks.PEER_BATCH", 8)
    found = [row for row in attack_rows(["m1_20"], images=12, steps=1) if row.what == "PGD-1"]
    assert [row.against for row in found] == [
        *("torchattacks, 12 at once", "torchattacks, 8 at once"),
        *("foolbox, 12 at once", "foolbox, 8 at once"),
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_one_line_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match="no GPU here; --device cpu"):
        list(gpu.rows())
