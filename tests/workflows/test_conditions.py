"""Conditions are a small closed form of data: built with methods, or read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import AstroError, InvalidArgumentsError
from astro.core.references import MAX_NESTING, Condition, Reference, condition, form_of
from astro.core.resolving import holds
from tests.workflows.test_placeholders import Names

A = Reference("a")
B = Reference("b")


def answer(question: Any, **names: Any) -> bool:
    return holds(condition(question), Names(**names))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, False),
        (1, True),
        ("", False),
        ("no", True),
        ([], False),
        ([0], True),
        ({}, False),
        (None, False),
        (False, False),
    ],
)
def test_a_reference_holds_where_its_value_is_neither_empty_nor_zero(
    value: Any, expected: bool
) -> None:
    assert answer(A, a=value) is expected
    assert answer("{{ a }}", a=value) is expected
    assert answer(~A, a=value) is not expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("a", "a", True),
        ("1", 1, False),
        (None, None, True),
        (None, False, False),
        ([1, [2]], [1, [2]], True),
        ([1], [True], False),
        ([1], [1, 2], False),
        ({"x": 1}, {"x": 1.0}, True),
        ({"x": 1}, {"x": True}, False),
        ({"x": 1}, {"y": 1}, False),
    ],
)
def test_equality_is_that_of_json(left: Any, right: Any, expected: bool) -> None:
    assert answer(A.equals(B), a=left, b=right) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, [1, 2], True),
        (True, [1], False),
        ("x", {"x": 0}, True),
        ("b", "abc", True),
        ("z", [], False),
    ],
)
def test_in_looks_into_lists_keys_and_text(left: Any, right: Any, expected: bool) -> None:
    assert answer(A.is_in(B), a=left, b=right) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (A.less_than(2), (True, False, False)),
        (A.at_most(2), (True, True, False)),
        (A.more_than(2), (False, False, True)),
        (A.at_least(2), (False, True, True)),
    ],
)
def test_comparisons_order_numbers(question: Condition, expected: tuple[bool, ...]) -> None:
    assert tuple(answer(question, a=number) for number in (1, 2.0, 3)) == expected


def test_comparisons_order_text() -> None:
    assert answer(A.less_than("b"), a="a")


@pytest.mark.parametrize(("left", "right"), [(1, "1"), (True, 1), (None, 1), ([1], [2]), ({}, 1)])
def test_unlike_values_have_no_order(left: Any, right: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="cannot compare"):
        answer(A.less_than(B), a=left, b=right)


@pytest.mark.parametrize(("left", "right"), [(1, "1"), (1, {"1": 0}), (1, 1), ("a", None)])
def test_in_refuses_what_nothing_can_be_in(left: Any, right: Any) -> None:
    with pytest.raises(InvalidArgumentsError, match="cannot look for"):
        answer(A.is_in(B), a=left, b=right)


def test_operators_combine_and_flatten() -> None:
    question = A & B & ~(A.equals(1) | B | A)
    assert form_of(question) == {
        "all": [
            "{{ a }}",
            "{{ b }}",
            {"not": {"any": [{"equals": ["{{ a }}", 1]}, "{{ b }}", "{{ a }}"]}},
        ]
    }
    assert answer(A & B, a=1, b=1) is True
    assert answer(A & B, a=1, b=0) is False
    assert answer(A | B, a=0, b=1) is True
    assert answer(A | B, a=0, b=0) is False


def test_all_of_nothing_holds_and_any_of_nothing_does_not() -> None:
    assert answer({"all": []}) is True
    assert answer({"any": []}) is False


def test_true_and_false_are_conditions_of_data() -> None:
    assert answer(True) is True
    assert answer(False) is False


def test_a_condition_has_no_truth_in_python() -> None:
    with pytest.raises(TypeError, match="instead of and, or, not"):
        bool(A.equals(1))


@pytest.mark.parametrize(
    "data",
    [
        "text",
        "a {{ b }}",
        1,
        None,
        [],
        {},
        {"equals": 1},
        {"equals": [1]},
        {"equals": [1, 2, 3]},
        {"all": "{{ a }}"},
        {"any": 3},
        {"not": "text"},
        {"equal": [1, 2]},
        {"eval": "1"},
        {"not": "{{ a }}", "all": []},
        {1: 2},
    ],
)
def test_anything_else_is_no_condition(data: Any) -> None:
    with pytest.raises(AstroError):
        condition(data)


def test_conditions_nested_too_deeply_are_refused() -> None:
    data: Any = "{{ a }}"
    for _ in range(MAX_NESTING + 1):
        data = {"not": data}
    with pytest.raises(AstroError, match="deeper"):
        condition(data)


values = st.sampled_from([A, B, 1, "x", None, [1, A]])
leaves = st.one_of(
    st.sampled_from([A, B]).map(condition),
    st.booleans().map(condition),
    st.builds(
        lambda verb, right: getattr(A, verb)(right),
        st.sampled_from(["equals", "is_in", "less_than", "at_most", "more_than", "at_least"]),
        values,
    ),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda one: ~one),
        st.builds(lambda x, y: x & y, inner, inner),
        st.builds(lambda x, y: x | y, inner, inner),
    ),
    max_leaves=8,
)


@given(conditions)
def test_a_condition_written_as_data_is_read_as_the_same(question: Condition) -> None:
    assert condition(form_of(question)) == question
