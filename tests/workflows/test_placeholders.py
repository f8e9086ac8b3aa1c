"""References in text, lists and objects: parsed, spelled, resolved, and nothing evaluated."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro import AstroError, CodecError, InvalidArgumentsError
from astro.core.codec import to_json
from astro.core.placeholders import parse_text, spell_text
from astro.core.references import (
    Fixed,
    Reference,
    Text,
    expression,
    form_of,
    located,
    rewritten,
    settle,
)
from astro.core.resolving import plain, resolve


class Names:
    """The values of some names."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def whole(self, name: str, /) -> Any:
        return self._values[name]

    def data(self, name: str, /) -> Any:
        return plain(self._values[name])


@attrs.frozen
class Article:
    title: str
    words: int = 0


def value_of(value: object, **names: Any) -> Any:
    settled = rewritten(expression(value), lambda one: settle(one, names))
    return resolve(settled, Names(**names))


# --- From text and back ----------------------------------------------------------------------


def test_text_without_braces_is_itself() -> None:
    assert expression("plain { text }") == Fixed(b'"plain { text }"')


def test_a_lone_placeholder_is_a_reference() -> None:
    assert expression("{{ topic }}") == Reference("topic")
    assert expression("{{topic}}") == Reference("topic")


def test_a_placeholder_in_text_is_a_part_of_it() -> None:
    assert expression("On {{ topic }}!") == Text(("On ", Reference("topic"), "!"))


def test_quoted_keys_end_the_name() -> None:
    assert expression('{{ a.b."first part".0 }}') == Reference("a.b", ("first part", 0))


def test_indexing_a_reference_deepens_it() -> None:
    assert Reference("a")["b"][0]["1"][-1] == Reference("a", ("b", 0, 1, -1))


def test_a_reference_is_no_sequence_and_has_no_truth() -> None:
    with pytest.raises(TypeError):
        list(Reference("a"))  # type: ignore[call-overload]  # the point of the test
    with pytest.raises(TypeError, match="Combine with"):
        bool(Reference("a"))


def test_a_reference_takes_keys_and_indices_only() -> None:
    with pytest.raises(InvalidArgumentsError, match="neither a key nor an index"):
        Reference("a")[1.5]  # type: ignore[index]  # the point of the test


def test_four_braces_stand_for_two() -> None:
    assert expression("{{{{ x }}") == Fixed(b'"{{ x }}"')
    assert expression("{{{{{{ x }}") == Text(("{{", Reference("x")))
    assert expression("{{{ x }}}") == Text(("{", Reference("x"), "}"))


@pytest.mark.parametrize(
    "text",
    [
        "{{ }}",
        "{{",
        "{{ a",
        "{{ a }",
        "{{ a . }}",
        "{{ .a }}",
        "{{ a. .b }}",
        "{{ a..b }}",
        '{{ "a" }}',
        '{{ a."b }}',
        '{{ a."b"c }}',
        '{{ a."\\q" }}',
        "{{ a{b }}",
        "{{ " + "a" * 2_000 + " }}",
    ],
)
def test_a_placeholder_that_is_not_well_formed_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="placeholder"):
        expression(text)


parts = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["{", "{{", "{{{", "}}", "{{ x }}", '"', "\\"]),
        st.builds(
            Reference,
            st.from_regex(r"[a-z][\w -]{0,6}[a-z]", fullmatch=True),
            st.lists(
                st.one_of(
                    st.integers(-99, 99),
                    st.text(max_size=5).filter(lambda key: not key.lstrip("-").isdecimal()),
                ),
                max_size=3,
            ).map(tuple),
        ),
    ),
    max_size=6,
)


@given(parts)
def test_spelled_text_is_parsed_into_the_same_parts(given_parts: list[Any]) -> None:
    spelled = spell_text(given_parts)
    found: list[Any] = []
    for part in parse_text(spelled):
        if isinstance(part, str):
            found.append(part)
            continue
        name, *plain_keys = part[0].split(".")
        reference = Reference(name)
        for key in (*plain_keys, *part[1]):
            reference = reference[key]
        found.append(reference)
    joined: list[Any] = []
    for part in given_parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    assert found == (joined or [""])


@given(st.text())
def test_any_text_is_parsed_or_refused_and_nothing_else(text: str) -> None:
    try:
        parse_text(text)
    except InvalidArgumentsError as error:
        assert "placeholder" in error.problem  # noqa: PT017  # either outcome is right


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet="ab{}. \"'é"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_a_fixed_value_written_as_data_is_read_as_the_same(value: Any) -> None:
    fixed = Fixed(to_json(value))
    assert expression(form_of(fixed)) == fixed


def test_braces_inside_fixed_values_stay_braces() -> None:
    value = {"a": ["{{{{", 1], "b": "{{{{ x }}", "c": None}
    fixed = expression(value)
    assert fixed == Fixed(b'{"a":["{{",1],"b":"{{ x }}","c":null}')
    assert form_of(fixed) == value


def test_references_inside_know_their_path() -> None:
    found = located(expression({"b": ["x", "{{ y }}"], "a": "{{ z }} {{ y }}"}), ("inputs",))
    assert list(found) == [
        (("inputs", "a"), Reference("z")),
        (("inputs", "a"), Reference("y")),
        (("inputs", "b", 1), Reference("y")),
    ]


# --- Values ----------------------------------------------------------------------------------


def test_a_lone_placeholder_keeps_the_type_of_its_value() -> None:
    article = Article("Fusion")
    assert value_of("{{ a }}", a=article) is article
    assert value_of("{{ a }}", a=3) == 3
    assert value_of(["{{ a }}"], a=[1]) == [[1]]


def test_in_text_values_are_text_and_other_values_json() -> None:
    said = value_of(
        "{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e }}", a="x", b=3, c=True, d=None, e=[1, "y"]
    )
    assert said == 'x|3|true|null|[1,"y"]'


def test_a_path_looks_into_the_json_form_of_a_value() -> None:
    assert value_of("{{ a.title }}", a=Article("Fusion")) == "Fusion"
    assert value_of("{{ a.0.words }}", a=[Article("Fusion", 7)]) == 7
    assert value_of("{{ a.1 }}", a={1: "x"}) == "x"
    assert resolve(Reference("a")[-1], Names(a=[1, 2])) == 2


def test_values_in_lists_and_objects_are_resolved_at_any_depth() -> None:
    assert value_of({"x": [{"y": "{{ a }}"}, 2]}, a=1) == {"x": [{"y": 1}, 2]}


@pytest.mark.parametrize(
    "path",
    [
        "missing",
        "title.x",
        "title.0",
        "__class__",
        "__init__.__globals__",
        "words.real",
        "tags.7",
        "tags.x",
    ],
)
def test_what_the_data_does_not_have_is_an_error_that_names_the_path(path: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=r"has no"):
        value_of(f"{{{{ a.{path} }}}}", a={"title": "Fusion", "words": 3, "tags": [1]})


def test_attributes_and_methods_of_a_value_cannot_be_reached() -> None:
    for path in ("upper", "format", "__class__", "__dict__", "__len__"):
        with pytest.raises(InvalidArgumentsError, match="has no"):
            value_of(f"{{{{ a.{path} }}}}", a="text")


def test_what_looks_like_code_is_a_name_like_any_other() -> None:
    assert expression("{{ f('x') }}") == Reference("f('x')")


def test_text_that_grows_beyond_the_cap_is_refused() -> None:
    with pytest.raises(InvalidArgumentsError, match="longer than"):
        value_of("{{ a }}" * 200 + "!", a="x" * 100_000)


def test_a_value_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(CodecError):
        expression([float("nan")])
    with pytest.raises(InvalidArgumentsError, match="not text"):
        expression({1: "x"})


def test_values_nested_too_deeply_are_refused() -> None:
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    with pytest.raises(AstroError, match="deeper than 32"):
        expression(deep)


def test_a_fixed_value_gives_a_copy_each_time() -> None:
    fixed = expression([1])
    assert isinstance(fixed, Fixed)
    fixed.value.append(2)
    assert fixed.value == [1]
    assert repr(fixed) == "<Fixed [1]>"


def test_objects_of_an_application_become_their_json() -> None:
    assert expression(Article("{{ not a placeholder }}")) == Fixed(
        b'{"title":"{{ not a placeholder }}","words":0}'
    )
