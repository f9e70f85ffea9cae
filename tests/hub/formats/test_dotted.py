"""Reading records and plain data by dotted path."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel

from hub.formats.dotted import DottedFields, path_error
from tests.hub.formats.messages import PROPERTY


class Inner(BaseModel):
    word: str = "w"
    tags: list[str] = ["a", "b"]


class Outer(BaseModel):
    inner: Inner = Inner()
    many: list[Inner] = [Inner(word="x"), Inner(word="y", tags=[])]
    born: date = date(1980, 2, 29)
    seen: datetime = datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
    sure: bool = False
    number: int = 0
    amount: Decimal = Decimal("25.00")
    nothing: str | None = None
    blank: str = ""


DATA: dict[str, Any] = Outer().model_dump() | {"pair": ("p", "q"), "deep": {"list": [{"v": "1"}, {"v": None}, {}, {"v": "4"}]}}


@pytest.mark.parametrize("fields", [DottedFields(Outer()), DottedFields(DATA)], ids=["record", "plain data"])
@pytest.mark.parametrize(
    ("path", "first", "all_of_them"),
    [
        ("inner.word", "w", ["w"]),
        ("inner.tags[1]", "a", ["a"]),
        ("inner.tags[2]", "b", ["b"]),
        ("inner.tags[3]", None, []),
        ("inner.tags[0]", None, []),
        ("inner.tags[*]", "a", ["a", "b"]),
        ("inner.tags", None, []),
        ("many[2].word", "y", ["y"]),
        ("many[*].word", "x", ["x", "y"]),
        ("many[*].tags[*]", "a", ["a", "b"]),
        ("many.word", None, []),
        ("inner", None, []),
        ("born", "1980-02-29", ["1980-02-29"]),
        ("seen", "2026-11-30T14:30:00+00:00", ["2026-11-30T14:30:00+00:00"]),
        ("sure", "false", ["false"]),
        ("number", "0", ["0"]),
        ("amount", "25.00", ["25.00"]),
        ("nothing", None, []),
        ("blank", None, []),
        ("missing", None, []),
        ("inner.missing.word", None, []),
        ("word.inner", None, []),
        ("inner.word[1]", None, []),
        ("inner.word.x", None, []),
        ("model_dump", None, []),
        ("__class__", None, []),
        ("inner.tags[99999999999999999999999]", None, []),
        ("", None, []),
        ("..", None, []),
        ("inner..word", None, []),
        ("inner.tags[x]", None, []),
    ],
)
def test_a_path_reads_a_value_or_nothing(fields: DottedFields, path: str, first: str | None, all_of_them: list[str]) -> None:
    assert fields.get(path) == first
    assert fields.get_all(path) == all_of_them


def test_what_is_missing_in_one_of_several_is_left_out() -> None:
    assert DottedFields(DATA).get_all("deep.list[*].v") == ["1", "4"]
    assert DottedFields(DATA).get("deep.list[4].v") == "4"
    assert DottedFields(DATA).get_all("pair[*]") == ["p", "q"]


@pytest.mark.parametrize(
    ("path", "words"), [("many", ["x", "y"]), ("inner.tags", [None, None]), ("missing", []), ("inner", [])]
)
def test_each_item_is_read_on_its_own(path: str, words: list[str | None]) -> None:
    assert [item.get("word") for item in DottedFields(Outer()).each(path)] == words


def test_items_within_items_are_read() -> None:
    groups = DottedFields({"a": [{"b": [{"c": "1"}, {"c": "2"}]}, {"b": []}, {}]}).each("a")
    assert [[inner.get("c") for inner in group.each("b")] for group in groups] == [["1", "2"], [], []]


@pytest.mark.parametrize("scope", ["a[1].b", "a[*].b"])
def test_a_scope_with_an_index_is_read_or_refused(scope: str) -> None:
    found = list(DottedFields({"a": [{"b": [{"c": "1"}]}]}).each(scope))
    assert [item.get("c") for item in found] == ["1"]


@pytest.mark.parametrize("path", ["a", "a.b", "a_b.c1", "a[1]", "a[*].b[22].c", "_x"])
def test_a_good_path_has_no_error(path: str) -> None:
    assert path_error(path) is None


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "1a", "a-b", "a b", "PID-3.1", "a[1][2]"]
)
def test_a_wrong_path_is_named(path: str) -> None:
    assert repr(path) in (path_error(path) or "")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=12,
)


@PROPERTY
@given(data=json_values, path=st.one_of(st.text(st.sampled_from("abc.[]*12")), st.text()))
def test_any_data_is_read_by_any_path(data: Any, path: str) -> None:
    fields = DottedFields(data)
    found = fields.get_all(path)
    assert all(isinstance(value, str) and value for value in found)
    assert fields.get(path) == (found[0] if found else None)
    assert all(isinstance(item, DottedFields) for item in fields.each(path))
