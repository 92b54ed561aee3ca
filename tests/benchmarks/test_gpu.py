"""The GPU benchmark also runs on a CPU, so that a change that breaks it is noticed on a machine without a GPU."""

import pytest
import torch

from benchmarks import gpu


@pytest.mark.parametrize("name", ["recorded", "together", "attack", "lambda1"])
def test_each_row_is_checked_and_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.PGD_STEPS", 2)
    (row,) = gpu.rows((name,), "cpu", 32)
    assert row.ours and min(row.ours) > 0
    assert (row.ratio is None) == (name == "lambda1")
    assert "same" in row.checked or "products" in row.checked


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_without_a_gpu_one_line_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match="no GPU here; --device cpu"):
        list(gpu.rows())
