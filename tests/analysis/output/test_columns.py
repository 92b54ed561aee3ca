"""Every column says what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from analysis.tables.table import NESTED
from search_spaces import TRIAL_FIELDS
from study.results.schema import CONFIG, ROW_SCHEMA


def with_nested(fields: Iterable[pa.Field]) -> Iterator[pa.Field]:
    for field in fields:
        yield field
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            yield from field.type.value_type


def test_every_column_of_a_row_is_described() -> None:
    columns = list(with_nested(ROW_SCHEMA))
    assert len(columns) == len(ROW_SCHEMA) + sum(len(list(ROW_SCHEMA.field(n).type.value_type)) for n in NESTED)
    for column in columns:
        assert column.metadata[b"description"], column.name


def test_a_trials_fields_are_columns_with_their_descriptions() -> None:
    columns = {field.name: field for field in CONFIG}
    assert set(columns) == {*TRIAL_FIELDS, "lr_bs_ratio"}
    for name, field in TRIAL_FIELDS.items():
        assert columns[name].metadata[b"description"].decode() == field.metadata["description"]
    assert columns["precision"].metadata[b"plain"] == b"float32"
    assert columns["train_size"].metadata[b"unit"] == b"images"
