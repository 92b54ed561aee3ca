"""A study whose networks are trained in batches first: the rows are the same, whatever happens to the batches."""

from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces import Request
from study.results.folder import Results
from study.results.schema import Row
from study.run import main
from study.tuning import tuner
from tests.cluster.multinode import in_this_process
from tests.tuning.faults import all_diverge, no_batched_training

SMALL = [
    *("--grid", "smoke", "--select", "batch_size=32", "--seeds", "0,1", "--probes", "headline"),
    *("--epochs", "2", "--train-size", "64", "--test-size", "20", "--no-report"),
]


def run(folder: Path, *options: str) -> tuple[int, dict[str, Row]]:
    status = main([*SMALL, "--results", str(folder), *options])
    return status, {row["trial_id"]: row for row in Results(folder).read_rows()[0]}


def test_trained_together_or_alone_the_study_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, together = run(tmp_path / "together", "--replicas", "8")
    printed = capsys.readouterr().out
    assert status == 0 and "training 4 networks in 1 batch;" in printed
    assert "4/4 done, 0 running, 0 failed" in printed
    assert "batched training failed" not in printed
    alone = in_this_process(
        Request("smoke", {"batch_size": ("32",)}, (0, 1), epochs=2, train_size=64, test_size=20, probes="headline")
    )
    assert together.keys() == alone.keys()
    for trial_id, row in together.items():
        single: Row = alone[trial_id]
        assert (row["replicas"], single["replicas"], row["replayed"]) == (4, 1, False)
        assert row["train_loss"] == pytest.approx(single["train_loss"], rel=1e-3)
        assert row["lambda1_test"] == pytest.approx(single["lambda1_test"], rel=0.02)
        assert [a["n"] for a in row["attacks"]] == [a["n"] for a in single["attacks"]]
        assert row["spaces"] == single["spaces"] and row["regimes"] == single["regimes"]


def test_networks_that_cannot_be_one_program_are_trained_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "execute_batched", no_batched_training)
    status, rows = run(tmp_path, "--replicas", "8")
    printed = capsys.readouterr()
    assert "batched training failed, trained individually: 4 x digits_8x8 mlp_256" in printed.err
    assert "this model branches on its data (planted)" in printed.err
    assert status == 0 and {row["status"] for row in rows.values()} == {"ok"}
    assert {row["replicas"] for row in rows.values()} == {1}
    assert all(row["attacks"] for row in rows.values())


def test_networks_that_diverged_together_are_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner, "execute_batched", all_diverge)
    status, rows = run(tmp_path, "--replicas", "8")
    assert status == 0 and {row["status_reason"] for row in rows.values()} == {"planted"}
    status, _ = run(tmp_path, "--replicas", "8")
    assert status == 0 and "nothing to do" in capsys.readouterr().out
