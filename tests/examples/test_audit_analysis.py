"""The analysis of one file: measures, findings, and files that are nothing of the kind."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples.audit.analysis import MAX_SIZE, MOST, analyse_file, analyse_source
from examples.audit.values import WORST, FileFacts, Finding, Source


def facts_of(text: str) -> FileFacts:
    facts = analyse_source(dedent(text).encode(), path="some.py")
    assert not facts.problem
    return facts


def finding_in(text: str) -> Finding:
    (finding,) = facts_of(text).findings
    return finding


def complexity_of(body: str) -> int:
    (complexity,) = facts_of(f"def f(a, b, c):\n    {body}\n").complexities
    return complexity


class TestLines:
    def test_blank_lines_comments_and_docstrings_are_lines_but_not_code(self) -> None:
        facts = facts_of(
            '''\
            """A module.

            It has one function.
            """
            # A remark.

            def f():
                """Say one."""
                return 1  # one
            '''
        )
        assert (facts.lines, facts.code) == (9, 2)

    def test_a_string_that_is_no_docstring_is_code(self) -> None:
        assert facts_of('x = """\none\ntwo\n"""\n').code == 4

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_all_line_ends_count_alike(self, end: str) -> None:
        assert analyse_source(f"a = 1{end}b = 2{end}".encode(), path="x.py").lines == 2

    def test_a_form_feed_ends_no_line(self) -> None:
        facts = analyse_source(b"a = 1\n\x0c\ndef f(x=[]): pass\n", path="x.py")
        assert facts.findings[0].line == 3


class TestComplexity:
    @pytest.mark.parametrize(
        ("body", "complexity"),
        [
            ("return a", 1),
            ("return b if a else c", 2),
            ("return a and b and c", 3),
            ("return [x for x in a if x if b]", 4),
            ("while a: pass", 2),
            ("for x in a: pass", 2),
            ("with a: return b", 1),
            ("return lambda x: x or a", 2),
        ],
    )
    def test_each_decision_adds_one(self, body: str, complexity: int) -> None:
        assert complexity_of(body) == complexity

    def test_each_elif_and_each_handler_is_a_decision(self) -> None:
        facts = facts_of(
            """\
            def f(a):
                try:
                    if a == 1: return 1
                    elif a == 2: return 2
                    else: return 3
                except ValueError: return 4
                except KeyError: return 5
                finally: pass
            """
        )
        assert facts.complexities == (5,)

    def test_the_case_that_matches_anything_is_no_decision(self) -> None:
        facts = facts_of(
            """\
            def f(a):
                match a:
                    case 1: return 1
                    case [x, y]: return 2
                    case z if z: return 3
                    case _: return 4
            """
        )
        assert facts.complexities == (4,)

    def test_an_inner_function_counts_for_itself(self) -> None:
        facts = facts_of(
            """\
            def outer(a):
                def inner(b):
                    if b: pass
                    if b: pass
                if a: pass
            """
        )
        assert sorted(facts.complexities) == [2, 3]

    def test_the_worst_functions_come_first_and_know_their_place(self) -> None:
        checks = "\n".join(f"        if a == {n}: pass" for n in range(7))
        facts = facts_of(f"class K:\n    def m(self, a):\n{checks}\n\ndef f(): pass\n")
        (worst,) = facts.worst
        assert (worst.name, worst.line, worst.complexity, worst.lines) == ("K.m", 2, 8, 8)

    def test_the_list_of_the_worst_ends(self) -> None:
        one = "def f{}(a):\n" + "    if a: pass\n" * 6
        assert len(facts_of("".join(one.format(n) for n in range(50))).worst) == WORST


class TestDocumentation:
    def test_module_classes_and_functions_are_to_be_documented(self) -> None:
        facts = facts_of('"""M."""\nclass C:\n    """C."""\n    def m(self): pass\ndef f(): pass\n')
        assert (facts.documented, facts.documentable) == (2, 4)

    def test_what_is_private_or_inside_a_function_need_not_be(self) -> None:
        facts = facts_of(
            """\
            def _f(): pass
            class _C:
                def m(self): pass
            class D:
                def __init__(self): pass
            def g():
                def inner(): pass
                class Inner: pass
            """
        )
        assert facts.documentable == 3  # the module, D and g

    def test_setters_and_overloads_need_not_be_documented_again(self) -> None:
        facts = facts_of(
            """\
            class C:
                @property
                def a(self): pass
                @a.setter
                def a(self, value): pass
                @typing.overload
                def b(self): pass
            """
        )
        assert facts.documentable == 3  # the module, C and C.a

    def test_an_empty_file_has_nothing_to_document(self) -> None:
        assert facts_of("").documentable == 0


class TestTypeHints:
    @pytest.mark.parametrize(
        ("text", "annotated", "annotatable"),
        [
            ("def f(a: int, b, *c, d: str = '', **e) -> None: pass", 3, 6),
            ("class C:\n def m(self, a: int) -> int: pass", 2, 2),
            ("class C:\n def __init__(self, a: int): pass", 1, 1),
            ("class C:\n @staticmethod\n def m(a: int): pass", 1, 2),
            ("class C:\n @classmethod\n def m(cls) -> int: pass", 1, 1),
        ],
    )
    def test_parameters_and_results_count_without_self(
        self, text: str, annotated: int, annotatable: int
    ) -> None:
        facts = facts_of(text)
        assert (facts.annotated, facts.annotatable) == (annotated, annotatable)


class TestBlockingCalls:
    @pytest.mark.parametrize(
        ("imports", "call", "name"),
        [
            ("import time", "time.sleep(1)", "time.sleep"),
            ("import time as t", "t.sleep(1)", "time.sleep"),
            ("from time import sleep as nap", "nap(1)", "time.sleep"),
            ("import urllib.request", "urllib.request.urlopen(u)", "urllib.request.urlopen"),
            ("import requests", "requests.get(u)", "requests.get"),
            ("import subprocess", "subprocess.run([])", "subprocess.run"),
            ("import sqlite3", "sqlite3.connect(p)", "sqlite3.connect"),
            ("import socket", "socket.create_connection(a)", "socket.create_connection"),
            ("", "open(p)", "open"),
            ("", "path.read_text()", ".read_text()"),
        ],
    )
    def test_a_coroutine_that_blocks_is_found_out(self, imports: str, call: str, name: str) -> None:
        finding = finding_in(f"{imports}\nasync def f(u, p, a, path):\n    return {call}\n")
        assert (finding.kind, finding.line, finding.place) == ("blocking call", 3, "f")
        assert finding.text == name

    @pytest.mark.parametrize(
        "text",
        [
            "import time\ndef f(): time.sleep(1)",
            "async def f(path): await path.read_text()",
            "from anyio import sleep\nasync def f(): await sleep(1)",
            "import anyio\nasync def f(): await anyio.to_thread.run_sync(lambda: open('x'))",
            "import time\nasync def f():\n  def g(): time.sleep(1)",
            "async def f(time): time.sleep(1)",
            "from aiofiles import open\nasync def f(): open('x')",
            "async def f(): open('x')\ndef open(x): pass",
        ],
    )
    def test_what_only_looks_like_blocking_is_not_found(self, text: str) -> None:
        assert facts_of(text).findings == ()

    def test_a_method_of_that_name_hides_nothing(self) -> None:
        text = "class C:\n    def open(self): pass\nasync def f(): open('x')\n"
        assert finding_in(text).text == "open"

    def test_an_import_below_the_call_counts(self) -> None:
        text = "async def f():\n    import time\n    time.sleep(1)\n"
        assert finding_in(text).text == "time.sleep"


class TestExceptions:
    @pytest.mark.parametrize(
        ("handler", "text"),
        [
            ("except: pass", "except: pass"),
            ("except Exception: pass", "except Exception: pass"),
            ("except BaseException as e: ...", "except BaseException: ..."),
            ("except (ValueError, Exception): continue", "except Exception: continue"),
            ("except Exception: 'never mind'", "except Exception: pass"),
        ],
    )
    def test_a_broad_handler_that_does_nothing_swallows(self, handler: str, text: str) -> None:
        finding = finding_in(f"for x in y:\n    try: x()\n    {handler}\n")
        assert (finding.kind, finding.line, finding.text) == ("swallowed exception", 3, text)

    @pytest.mark.parametrize(
        "handler",
        ["except ValueError: pass", "except Exception: log()", "except: log(); raise"],
    )
    def test_a_narrow_or_a_busy_handler_is_fine(self, handler: str) -> None:
        assert facts_of(f"try: x()\n{handler}\n").findings == ()

    def test_a_bare_except_that_goes_on_is_a_finding_of_its_own(self) -> None:
        assert finding_in("try: x()\nexcept: log()\n").kind == "bare except"


class TestOtherFindings:
    @pytest.mark.parametrize(
        ("default", "text"),
        [("[]", "a=[]"), ("{}", "a={}"), ("dict()", "a=dict()"), ("{1}", "a={…}")],
    )
    def test_a_default_that_all_calls_share_is_found(self, default: str, text: str) -> None:
        assert finding_in(f"def f(*, a={default}): pass").text == text

    @pytest.mark.parametrize("default", ["None", "()", "frozenset()", "0"])
    def test_a_default_that_cannot_change_is_fine(self, default: str) -> None:
        assert facts_of(f"def f(a={default}): pass").findings == ()

    def test_a_function_of_too_many_paths_is_found(self) -> None:
        finding = finding_in("def f(a):\n" + "    if a: pass\n" * 20)
        assert (finding.kind, finding.text) == ("complex function", "complexity 21")

    def test_findings_come_in_the_order_of_lines_and_end(self) -> None:
        facts = facts_of("def f(a=[]): pass\n" * (MOST + 10))
        lines = [finding.line for finding in facts.findings]
        assert lines == list(range(1, MOST + 1))


class TestWhatIsNoPython:
    @pytest.mark.parametrize(
        ("raw", "problem"),
        [
            (b"print 'hello'\n", "not Python"),
            (b"a = 1\0", "not Python"),
            (b"x = '\xe9'\n", "not decodable"),
            (b"# coding: nonsense\n", "not decodable"),
            (b"# coding: undefined\nx", "not decodable"),
            (b"# coding: hex\n00", "not decodable"),
            ("x = 1".encode("utf-16"), "not decodable"),
            (b"(" * 5_000, "not Python"),
            (b"-" * 100_000 + b"1", "nested too deeply"),
            (b"f" + b"()" * 100_000, "nested too deeply"),
            (b"if a: pass\n" + b"elif a: pass\n" * 30_000, "nested too deeply"),
            (b"#" * (MAX_SIZE + 1), "larger than"),
        ],
    )
    def test_it_is_a_fact_with_a_problem(self, raw: bytes, problem: str) -> None:
        facts = analyse_source(raw, path="x.py")
        assert facts.problem.startswith(problem)
        assert "\n" not in facts.problem

    def test_a_file_that_names_its_encoding_is_read_in_it(self) -> None:
        raw = "# -*- coding: latin-1 -*-\ndef f(): return 'é'\n".encode("latin-1")
        assert analyse_source(raw, path="x.py").functions == 1

    @given(st.binary(max_size=200))
    @example(b"\xef\xbb\xbfx = 1")
    def test_no_bytes_raise(self, raw: bytes) -> None:
        facts = analyse_source(raw, path="x.py")
        assert msgspec.json.decode(msgspec.json.encode(facts), type=FileFacts) == facts

    def test_a_file_that_is_gone_is_a_fact_with_a_problem(self, tmp_path: Path) -> None:
        facts = analyse_file(Source(root=str(tmp_path), path="gone.py"))
        assert facts.problem.startswith("not readable")

    def test_a_root_may_be_the_file_itself(self, tmp_path: Path) -> None:
        file = tmp_path / "alone.py"
        file.write_text("def f(): pass\n")
        assert analyse_file(Source(root=str(file), path="alone.py")).functions == 1
