"""A newcomer's study file: docs/your_own_study.md, word for word, from the file to a report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.report import main as report
from search_spaces import Request, plan
from search_spaces.outside import STUDY_FILES
from study.data import load, split
from study.results.answers import answered
from study.results.folder import Results
from study.run import main
from study.trials.device_data import DeviceData
from study.trials.execute import execute
from study.trials.outside import bring
from tests.outside import forgotten, write_images
from tests.stored import results_in

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your_own_study.md"

CLAIM = """
from analysis.claims.claim import Claim, Source
from analysis.claims.curves import Scope, Setting
from analysis.claims.measures import CLEAN
from analysis.claims.claim_tests import trends

CLAIMS = (
    Claim("OWN", "Accuracy falls with the batch size", Source("Nobody (2026)", "1"),
          Scope((BASE,), (Setting("gentle"),), only=True), tests=[trends(-1, CLEAN)]),
)
"""


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Path]:
    """A folder with the page's file and images."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "my_study.py").write_text(block, encoding="utf-8")
    write_images(tmp_path / "mine.npz")
    with forgotten():
        yield tmp_path


def train(folder: Path) -> Results:
    """Its networks of one seed, trained and probed in this process."""
    bring(str(folder / "my_study.py"), None, None, folder)
    whole = load("mine", folder)
    data = DeviceData.of(split(whole, train_size=240, val_size=60, test_size=90), whole.sha256)
    results, request = results_in(folder / "r"), Request("my_study.py", seeds=(0,))
    for one in plan(request).values():
        row = execute(one, data, results)
        assert row["status"] == "ok"
        assert answered(row) == {probe.key for probe in one.probes}
        assert (row["num_classes"], row["test_acc"] > 0.8) == (3, True)
    results.write_study({"grid": "my_study.py", "requests": [request.to_dict()]})
    return results


def test_the_dry_run_lists_its_curves_and_times_its_model(newcomer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--grid", str(newcomer / "my_study.py"), "--data-dir", str(newcomer), "--results", str(newcomer / "r")]
    assert main([*options, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "grid my_study.py: 70 trials in 14 settings" in printed
    assert re.search(r"^25/25 +~[\d:]+  mine softmax lr m 0 bs 4-64 seeds 0-4$", printed, re.MULTILINE)
    assert "steps timed here" in printed
    assert "guess" not in printed
    (newcomer / "mine.npz").unlink()
    assert main([*options, "--dry-run"]) == 2
    assert "mine.npz cannot be read" in capsys.readouterr().err
    assert not list(newcomer.glob("__pycache__")), "nothing is left beside the file"


def test_its_own_claim_is_one_to_add_seeds_for(newcomer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = newcomer / "my_study.py"
    file.write_text(file.read_text(encoding="utf-8") + CLAIM, encoding="utf-8")
    options = ["--grid", str(file), "--data-dir", str(newcomer), "--results", str(newcomer / "r"), "--dry-run"]
    assert main([*options, "--until-decided", "OWN"]) == 0
    assert re.search(
        r"^1\. mine softmax .*, up to 3 seeds: .* it decides: OWN 20 %$", capsys.readouterr().out, re.MULTILINE
    )


def test_its_networks_are_reported_with_its_plan_names_and_claims_where_the_file_is_given(
    newcomer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = newcomer / "my_study.py"
    file.write_text(file.read_text(encoding="utf-8") + CLAIM, encoding="utf-8")
    results = train(newcomer)
    STUDY_FILES.clear()
    (newcomer / "r" / "my_study.py").write_text("raise SystemExit('the folder was executed')")
    assert report([results.location]) == 0
    assert "my_study.py was not loaded, so its plan and claims are missing" in capsys.readouterr().err
    study = analysis.load(results.location)
    assert len(study.networks) == 14
    assert study.table.planned.empty
    assert "OWN" not in set(study.claims()["claim"])
    assert not analysis.load(results.location, grid=file).table.not_given

    STUDY_FILES.clear()
    assert report([results.location, "--grid", str(file)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    page = Path(said.out.strip())
    text = page.read_text(encoding="utf-8")
    assert "softmax" in text and "LR 0.02 constant" in text
    assert set(pd.read_csv(page.with_name("networks.csv"))["dataset"]) == {"mine"}
    claims = pd.read_csv(page.with_name("claims.csv")).set_index("claim")
    assert claims.loc["OWN", "verdict"] == "not run", "one seed decides nothing"
    assert report([results.location, "--grid", str(newcomer / "gone.py")]) == 2
