"""Results on a real S3-like server: whole rows, few requests, and nothing lost while it fails."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from study.results import storage
from study.results.folder import RecordsError, Results
from study.results.rows import new_row
from study.results.schema import Row
from study.run import main
from tests.trials.small import planned, trial

pytest.importorskip("moto.server")
from tests.cluster.s3 import CREDENTIALS, S3Server
from tests.commands import refused

PAUSE = 0.1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "PAUSES", (PAUSE, PAUSE))
    with S3Server() as started:
        started.make_bucket("bucket")
        yield started


@pytest.fixture
def results(server: S3Server) -> Results:
    made = Results(server.uri("bucket/study"))
    made.create()
    server.requests.clear()
    return made


def row(seed: int = 0, **values: object) -> Row:
    return new_row(planned(trial(seed=seed))) | {"status": "ok", **values}


def test_everything_of_a_study_is_kept(results: Results, server: S3Server) -> None:
    stored = row()
    name = stored["trial_id"]
    results.write_row(stored)
    results.write_weights(name, b"w")
    results.write_checkpoint(name, b"c")
    results.write_arrays(name, {"a": np.arange(3)})
    results.write_arrays(name, {"b": np.arange(2)})
    results.write_study({"grid": "smoke"})
    again = Results(results.location)
    assert again.exists()
    assert again.read_row(name) == stored
    assert [found["trial_id"] for found in again.read_rows()[0]] == [name]
    assert (again.read_weights(name), again.read_checkpoint(name)) == (b"w", b"c")
    assert set(again.read_arrays(name)) == {"a", "b"}
    assert again.read_study() == {"grid": "smoke"}
    again.delete_checkpoint(name)
    again.delete_checkpoint(name)
    assert again.read_checkpoint(name) is None
    assert f"study/trials/{name}.parquet" in server.keys("bucket")
    assert not any("?" in key or "endpoint" in key for key in server.keys("bucket"))


def test_a_row_is_one_request_to_write_and_a_listing_one_a_thousand(results: Results, server: S3Server) -> None:
    results.write_row(row())
    assert server.requests == {"PUT": 1}
    server.requests.clear()
    results.read_row(row()["trial_id"])
    assert server.requests == {"HEAD": 1, "GET": 1}
    server.put("bucket", [f"study/trials/{number:04d}.parquet" for number in range(1100)], b"")
    server.requests.clear()
    assert len(results._storage.list("trials")) == 1101
    assert (len(server.pages), server.requests) == (2, {})


@pytest.mark.slow
def test_two_thousand_rows_are_read_in_two_requests_each(
    results: Results, server: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    results.write_row(row())
    content = results._storage.read(f"trials/{row()['trial_id']}.parquet")
    assert content is not None
    server.put("bucket", [f"study/trials/{number:04d}.parquet" for number in range(1999)], content)
    server.requests.clear()
    server.delay = 0.03
    started = time.monotonic()
    rows, copies = results.read_rows()
    with capsys.disabled():
        print(f"2000 rows: {time.monotonic() - started:.1f} s, {len(server.pages)} pages, {dict(server.requests)}")
    assert (len(rows), len(copies)) == (1, 1999)  # the copies hold the row of another trial
    assert len(server.pages) == 3
    assert server.requests == {"HEAD": 2000 + 1, "GET": 2000}  # one asks for the copy of all rows


def test_a_file_whose_upload_fails_midway_keeps_its_old_content(results: Results, server: S3Server) -> None:
    results.write_weights("big", b"a" * (12 << 20))
    server.requests.clear()
    server.fail_after = 2  # the upload begins and its first part arrives
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        results.write_weights("big", b"b" * (12 << 20))
    server.fail_after = None
    assert results.read_weights("big") == b"a" * (12 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["503 Slow Down", "stopped"])
def test_storage_that_fails_for_a_while_costs_time_and_nothing_else(
    results: Results, server: S3Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAUSES", (PAUSE,) * 100)
    stored = row()
    results.write_row(stored)
    server.fail(how)
    threading.Timer(8.0, server.mend).start()  # longer than the client itself is patient
    assert results.read_row(stored["trial_id"]) == stored
    server.fail(how)
    threading.Timer(8.0, server.mend).start()
    results.write_row(stored | {"test_acc": 0.5})
    assert [found["test_acc"] for found in results.read_rows()[0]] == [0.5]


def test_a_row_that_cannot_be_read_is_never_taken_for_absent(results: Results, server: S3Server) -> None:
    results.write_row(row())
    server.fail("403 Forbidden")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        results.read_row(row()["trial_id"])
    with pytest.raises(RecordsError, match="cannot read the results folder"):
        results.read_rows()


ARGUMENTS = ["--grid", "smoke", "--select", "batch_size=32", "regime=benchmark", "--seeds", "0", "--epochs", "1",
             "--train-size", "64", "--test-size", "20", "--probes", "headline"]  # fmt: skip


def test_a_missing_bucket_is_one_clear_line(server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--results", server.uri("nobody/study")]) == 2
    printed = capsys.readouterr().err
    assert "cannot write to the results folder" in printed
    assert "'nobody' not found" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_denied_access_is_one_clear_line(server: S3Server, capsys: pytest.CaptureFixture[str], dry: list[str]) -> None:
    server.fail("403 Forbidden")
    assert main([*ARGUMENTS, *dry, "--results", server.uri("bucket/study")]) == 2
    printed = capsys.readouterr().err
    assert "cannot look into the results folder" in printed
    assert "check the credentials, the bucket" in printed
    assert printed.count("\n") == 1


def test_a_mistyped_uri_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = "Unexpected query parameter in S3 URI: 'endpoint'"
    refused(capsys, main, [*ARGUMENTS, "--results", "s3://bucket/study?endpoint=x"], said)


@pytest.mark.slow
def test_a_whole_study_and_its_report(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    where = server.uri("bucket/study")
    server.delay = 0.01
    run = [sys.executable, "-m", "study.run", *ARGUMENTS, "--no-report", "--results", where]
    done = subprocess.run(run, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, unreadable = Results(where).read_rows()
    assert ([found["status"] for found in rows], unreadable) == (["ok"], [])
    again = subprocess.run(run, capture_output=True, text=True, timeout=280)
    assert "answered already: nothing to do" in again.stdout
    monkeypatch.chdir(tmp_path)
    report = subprocess.run(
        [sys.executable, "-m", "analysis.report", where], capture_output=True, text=True, timeout=280
    )
    assert report.returncode == 0, report.stderr[-2000:]
    assert list(tmp_path.rglob("*.html"))
    assert json.loads(server.get("bucket", "study/study.json"))["grid"] == "smoke"
