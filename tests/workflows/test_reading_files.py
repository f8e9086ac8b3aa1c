"""Files are read strictly, and everything wrong with one is said at once, with its line."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astro import MissingExtraError, SettingsError
from astro.setup.yaml import read_document, read_yaml

WriteFile = Callable[..., Path]


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read_yaml(text)
    return caught.value.problems


def test_a_yaml_text_gives_plain_values() -> None:
    document = read_yaml(
        "name: Ada\nage: 36\nrate: 1.5e3\nmask: 0x1F\nmode: 0o17\non: yes\ngone: ~\nempty:\n"
        "ok: true\nlist: [1, {a: b}]\ntext: |\n  one\n  two\n"
    )
    assert document.data == {
        "name": "Ada",
        "age": 36,
        "rate": 1500.0,
        "mask": 31,
        "mode": 15,
        "on": "yes",
        "gone": None,
        "empty": None,
        "ok": True,
        "list": [1, {"a": "b"}],
        "text": "one\ntwo\n",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("012", 12),
        ("1:20", "1:20"),
        ("2026-01-01", "2026-01-01"),
        ("1.10", 1.1),
        ('"1"', "1"),
        ("'true'", "true"),
        ("=", "="),
        ("-7", -7),
        (".5", 0.5),
        ("1_000", "1_000"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = read_yaml(f"a: {text}").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_always_text() -> None:
    assert read_yaml("1: a\ntrue: b\nnull: c\nno: d").data == {
        "1": "a",
        "true": "b",
        "null": "c",
        "no": "d",
    }


def test_a_document_knows_the_line_of_everything() -> None:
    document = read_yaml("a:\n  b:\n    - x\n    - c: 1\n\nd: [1,\n  2]\n")
    assert document.line(()) == 1
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "b", 1, "c")) == 4
    assert document.line(("d", 1)) == 7


def test_the_line_of_what_is_absent_is_that_of_what_is_around_it() -> None:
    document = read_yaml("a:\n  b: 1\n")
    assert document.line(("a", "missing", "deeper")) == 1
    assert document.line(("a", "b", 3)) == 2


def test_a_problem_is_spelled_with_line_and_path() -> None:
    document = read_yaml("a:\n  b: [1, 2]\n")
    assert document.problem(("a", "b", 1), "wrong") == "line 2, a.b[1]: wrong"
    assert document.problem((), "wrong") == "line 1: wrong"


def test_an_empty_text_is_nothing() -> None:
    assert read_yaml("").data is None
    assert read_yaml("# a remark\n").data is None


def test_all_problems_of_a_text_are_found_in_one_pass() -> None:
    found = problems(
        "a: {{ x }}\nb: &here 1\nc: *here\nd: !!str 3\ne: !mine [1]\na: 3\nf: .nan\n---\nz: 1\n"
    )
    assert [problem.partition(":")[0] for problem in found] == [
        f"line {number}" for number in (1, 2, 3, 4, 5, 6, 7, 8)
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {{ x }}", "line 1: quote your template"),
        ("a: {{ x }} and more", "line 1: quote your template"),
        ("a:\n  - {{ x.y }}", "line 2: quote your template"),
        ("[a, b]: c", "line 1: a key must be text"),
        ("? {a: b}\n: c", "line 1: a key must be text"),
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' is already on line 1"),
        ("a: {b: 1, b: 2}", "line 1: key 'b' is already on line 1"),
        ("a: .inf", "line 1: .inf is not a number"),
        ("a: -.inf", "line 1: -.inf is not a number"),
        ("a: " + "9" * 5_000, "line 1: the number has more than 300 digits"),
        ('a: "\\ud800"', "line 1: half of a surrogate"),
        ("a: [1,\nb: 2", "line 2: expected"),
        ("a: @x", "line 1: nothing can begin with @; quote it"),
        ("a: %x", "line 1: nothing can begin with %"),
        ("a:\n\t- b", "line 2:"),
        ("a: 1\nb: \x00", "line 2: special characters"),
        ("a: " + "[" * 33 + "]" * 33, "line 1: nested deeper than 32 levels"),
        ("[" * 200_000, "line 1: nested deeper than 32 levels"),
        ("a: 1\n---\nb: 2", "line 2: a second document"),
        ("x" * (256 * 1024 + 1), "it is larger than 256 KiB"),
        (b"a: 1\nb: \xff", "line 2: it is not UTF-8"),
        ("a: &x 1", "line 1: anchors (&x)"),
        ("a: *x", "line 1: aliases (*x)"),
        ("!mine\na: 1", "line 1: tags (!mine)"),
    ],
)
def test_what_a_reader_would_not_notice_is_refused(text: str | bytes, problem: str) -> None:
    assert any(problem in one for one in problems(text))


def test_nesting_of_thirty_two_levels_is_accepted() -> None:
    assert read_yaml("[" * 32 + "]" * 32).data


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    rows = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    rows += [
        f"{n}: &{n} [{', '.join(['*' + p] * 9)}]" for p, n in zip("abcdefg", "bcdefgh", strict=True)
    ]
    assert len(problems("\n".join(rows))) >= 8


def test_a_file_of_full_size_is_read() -> None:
    text = "\n".join(f"key{n}: value" for n in range(5_000))
    assert len(read_yaml(text).data) == 5_000


def test_a_path_is_read_as_a_file(write: WriteFile) -> None:
    path = write("a: 1")
    document = read_yaml(path)
    assert (document.data, document.source) == ({"a": 1}, str(path))


def test_a_byte_order_mark_is_no_part_of_the_text(write: WriteFile) -> None:
    assert read_yaml(write(b"\xef\xbb\xbfa: 1")).data == {"a": 1}


def test_a_file_that_is_not_there_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_document(tmp_path / "absent.yaml")


def test_an_unknown_suffix_is_refused(write: WriteFile) -> None:
    with pytest.raises(SettingsError, match=r"\.ini is none of \.yaml, \.yml, \.toml, \.json"):
        read_document(write("a=1", "settings.ini"))


def test_yaml_without_its_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ruamel(name: str, *rest: Any, **words: Any) -> Any:
        if name.startswith("ruamel"):
            raise ImportError(name)
        return real(name, *rest, **words)

    monkeypatch.setattr(builtins, "__import__", without_ruamel)
    with pytest.raises(MissingExtraError, match=r"astro-orchestrator\[yaml\]"):
        read_yaml("a: 1")


# --- JSON and TOML ---------------------------------------------------------------------------


def test_json_is_read_with_lines(write: WriteFile) -> None:
    document = read_document(
        write('{"a": [1, -2.5,\n {"b": "x\\ny", "c": true, "d": null}],\n "e": 2}', "a.json")
    )
    assert document.data == {"a": [1, -2.5, {"b": "x\ny", "c": True, "d": None}], "e": 2}
    assert document.line(("a", 2, "c")) == 2
    assert document.line(("e",)) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1,\n "a": 2}', "line 2: key 'a' is already on line 1"),
        ('{"a": NaN}', "line 1: NaN is not a number"),
        ('{"a":\n -Infinity}', "line 2: -Infinity is not a number"),
        ("{'a': 1}", "line 1: Expecting property name"),
        ("[" * 100_000, "line 1: nested too deeply"),
        ("[" * 40 + "]" * 40, "line 1: nested deeper than 32 levels"),
        ('{"a": ' + "9" * 5_000 + "}", "line 1: the number has more than 300 digits"),
        ('{"a": "\\ud800"}', "line 1: half of a surrogate"),
        ("", "line 1: Expecting value"),
    ],
)
def test_json_is_as_strict_as_yaml(write: WriteFile, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_document(write(text, "a.json"))
    assert any(problem in one for one in caught.value.problems)


def test_toml_is_read_with_lines(write: WriteFile) -> None:
    document = read_document(
        write(
            'a = 1\nday = 2026-01-01\n[t.u]\nx = [1,\n 2]\n"q r" = true\n[[k]]\nz = 1\n'
            "[[k]]\nz = 2\ny.w = 3\n",
            "a.toml",
        )
    )
    assert document.data == {
        "a": 1,
        "day": "2026-01-01",
        "t": {"u": {"x": [1, 2], "q r": True}},
        "k": [{"z": 1}, {"z": 2, "y": {"w": 3}}],
    }
    lines = [
        document.line(path)
        for path in [
            ("day",),
            ("t", "u", "x"),
            ("t", "u", "q r"),
            ("k", 1, "z"),
            ("k", 1, "y", "w"),
        ]
    ]
    assert lines == [2, 4, 6, 10, 11]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a =", "line 1: Invalid value"),
        ("a = 1\na = 2", "line 2: Cannot overwrite"),
        ("a = 1\nb = inf", "line 2: inf is not a number"),
        ("a = " + "[" * 40 + "]" * 40, "line 1: nested deeper than 32 levels"),
        ("a = " + "[" * 5_000, "line 1: maximum recursion"),
        ("a = " + "9" * 5_000, "line 1: Exceeds the limit"),
    ],
)
def test_toml_is_as_strict_as_yaml(write: WriteFile, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_document(write(text, "a.toml"))
    assert any(problem in one for one in caught.value.problems)
