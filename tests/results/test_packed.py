"""A study packed into one file is read as its folder is, and becomes a folder again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from analysis.report import write_report
from analysis.reports.commands import run_command, unpack_command
from analysis.tables.table import load
from search_spaces import Request, plan
from study import pack, run
from study.results.folder import RecordsError, Results
from study.results.packed import is_packed, read_packed
from study.results.row_files import PACKED_KIND
from study.results.schema import ROW_SCHEMA
from tests.analysis import synthetic
from tests.commands import refused
from tests.results.small import write_parquet
from tests.stored import results_in

REQUEST = {"grid": "smoke", "select": {"regime": ["lr"], "batch_size": ["16"]}, "seeds": [0, 1, 2]}
TRIALS = [planned.trial for planned in plan(Request.from_dict(REQUEST)).values()]
ATTACKS = {("pgd", "stable"): 0.4}


@pytest.fixture
def source(tmp_path: Path) -> Results:
    rows = [synthetic.row(trial, clean=0.9, attacks=ATTACKS, log2_lambda1=3.0) for trial in TRIALS]
    return results_in(tmp_path / "source", rows, study={"requests": [REQUEST]})


@pytest.fixture
def packed(source: Results, tmp_path: Path) -> Path:
    assert pack.main([source.location, str(tmp_path / "kept/rows.parquet")]) == 0
    return tmp_path / "kept/rows.parquet"


def test_every_row_and_the_record_come_back(source: Results, packed: Path, tmp_path: Path) -> None:
    columns = ["trial_id", "attacks.accuracy"]
    assert read_packed(packed)[0].equals(source.read_table()[0])
    assert read_packed(packed, columns)[0].equals(source.read_table(columns)[0])
    assert pack.main([str(packed), str(tmp_path / "again")]) == 0
    again = Results(tmp_path / "again")
    assert again.read_table()[0].equals(source.read_table()[0])
    assert again.read_study() == source.read_study() == read_packed(packed)[1]


def test_it_is_a_location_for_tables_and_reports(source: Results, packed: Path) -> None:
    assert load(packed).planned.equals(load(source.location).planned)
    assert load(packed, source.location).conflicts == ()
    assert write_report(packed)[0] == packed.parent / "report/report.html"


def test_packing_again_adds_what_was_run_since(source: Results, packed: Path) -> None:
    other = synthetic.trial(batch_size=512)
    source.write_row(synthetic.row(other, clean=0.8, attacks={}, log2_lambda1=1.0))
    source.write_study({"requests": [REQUEST, REQUEST | {"seeds": [3]}]})
    assert pack.main([source.location, str(packed)]) == 0
    rows, study = read_packed(packed)
    assert other.trial_id in rows["trial_id"].to_pylist() and len(study["requests"]) == 2


@pytest.mark.parametrize("lost", ["trial", "answer", "tracked", "trained"])
def test_packing_drops_nothing_of_an_older_file(
    source: Results, packed: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = synthetic.row(TRIALS[0], clean=0.9, attacks={}, log2_lambda1=3.0)
    source.write_row(row | {"history": [{"epoch": 1, "lambda1": 2.0}]})
    packed.unlink()
    assert pack.main([source.location, str(packed)]) == 0
    before = packed.read_bytes()
    match lost:
        case "trial":
            Path(source.location, f"trials/{TRIALS[0].trial_id}.parquet").unlink()
        case "answer":
            source.write_row(row | {"history": [{"epoch": 1, "lambda1": 2.0}], "spectra": []})
        case "tracked":
            source.write_row(row)
        case "trained":
            source.write_row(row | {"history": [{"epoch": 1, "lambda1": 2.0}], "status": "failed"})
    said = f"contains results of 1 trials that {source.location} does not have"
    refused(capsys, pack.main, [source.location, str(packed)], said)
    assert packed.read_bytes() == before


def test_no_file_but_a_packed_study_is_replaced(
    source: Results, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (b"a table of somebody else", packed.read_bytes()[:-40]):
        packed.write_bytes(content)
        refused(capsys, pack.main, [source.location, str(packed)], "it is kept: move it away, or give another file")
        assert packed.read_bytes() == content


def test_an_unreadable_row_is_not_left_out_in_silence(source: Results, tmp_path: Path) -> None:
    (tmp_path / "source/trials/torn.parquet").write_bytes(b"PAR1")
    assert pack.main([source.location, str(tmp_path / "new.parquet")]) == 2
    assert not (tmp_path / "new.parquet").exists()


def test_unpacking_completes_its_folder_and_refuses_any_other(
    source: Results, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nan = {"val_acc": math.nan, "history": [{"epoch": 1, "val_acc": math.nan}]}  # without validation images
    source.write_row(synthetic.row(TRIALS[1], clean=0.9, attacks=ATTACKS, log2_lambda1=3.0) | nan)
    assert pack.main([source.location, str(packed)]) == 0
    Path(source.location, f"trials/{TRIALS[0].trial_id}.parquet").unlink()  # as if it had been interrupted
    assert pack.main([str(packed), source.location]) == 0
    assert repr(source.read_rows()[0]) == repr(read_packed(packed)[0].to_pylist())
    source.write_row(synthetic.row(TRIALS[0], clean=0.5, attacks=ATTACKS, log2_lambda1=3.0))
    refused(capsys, pack.main, [str(packed), source.location], "has other results already")


def test_a_run_refuses_the_name_of_a_packed_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--grid", "smoke", "--results", str(tmp_path / "new.parquet"), "--dry-run"]
    refused(capsys, run.main, command, "is a packed study file; unpack it")


def test_a_uri_is_a_place_too(source: Results, packed: Path, tmp_path: Path) -> None:
    assert is_packed("s3://bucket/mine.parquet?region=eu") and not is_packed("s3://bucket/mine?file=x.parquet")
    assert pack.main([source.location, f"file://{tmp_path}/by_uri/rows.parquet"]) == 0
    assert (tmp_path / "by_uri/rows.parquet").read_bytes() == packed.read_bytes()
    with pytest.raises(RecordsError, match="cannot use '~nosuchuser"):
        read_packed("~nosuchuser/rows.parquet")


def test_commands_of_its_report_go_on_in_a_folder_of_it(packed: Path) -> None:
    assert unpack_command(str(packed)) == f"python -m study.pack {packed} results/kept"
    command = run_command("smoke", {"regime": "lr"}, results=str(packed))
    assert "--results results/kept" in command and not unpack_command("results/kept")


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a", "b", "only one of FROM and TO ends in .parquet"),
        ("a.parquet", "b.parquet", "only one of FROM and TO ends in .parquet"),
        ("nothing", "b.parquet", "nothing holds no results"),
        ("a.parquet", "b", "there is no file"),
    ],
)
def test_bad_names_are_one_clear_line(
    source: str, target: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, pack.main, [str(tmp_path / source), str(tmp_path / target)], message)
    assert not list(tmp_path.iterdir())


def test_every_changed_byte_is_found(packed: Path) -> None:
    content = packed.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 200)):
        changed = bytearray(content)
        changed[place] ^= 4
        packed.write_bytes(changed)
        with pytest.raises(RecordsError, match="no packed study that can be read"):
            read_packed(packed)


def test_a_newer_version_is_refused_and_an_older_one_gets_the_columns_of_this_one(packed: Path) -> None:
    rows = read_packed(packed)[0]
    metadata = ROW_SCHEMA.metadata | {b"kind": PACKED_KIND}
    write_parquet(rows.drop_columns(["num_classes"]).replace_schema_metadata(metadata), packed)
    assert read_packed(packed)[0].schema.equals(ROW_SCHEMA)
    write_parquet(rows.replace_schema_metadata(metadata | {b"schema_version": b"99"}), packed)
    with pytest.raises(RecordsError, match="schema version 99"):
        read_packed(packed)
