"""The papers' printed numbers."""

from analysis.published import published


def test_every_printed_number_is_there() -> None:
    rows = published()
    assert rows.groupby("table").size().to_dict() == {
        "Choudhary-T2": 68, "Yao-T1": 168, "Yao-T2": 40, "Yao-T3": 42, "Yao-T4": 42, "Yao-T7": 84,
    }  # fmt: skip


def test_percents_and_fractions_are_on_one_scale() -> None:
    rows = published()
    assert rows[rows["metric"].str.endswith("acc")]["value_std"].between(0, 100).all()
    one = "table == 'Yao-T7' and model == 'M1' and metric == 'fgsm_acc' and split == 'test' and eps == 0.1"
    assert rows.query(f"{one} and batch_size == 64")["value_std"].tolist() == [85.0]
