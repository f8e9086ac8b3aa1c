"""The summary and the comparison: facts of files, folded into what is known of trees."""

from __future__ import annotations

import random

import msgspec
import pytest

from examples.audit.history import compare
from examples.audit.summary import BUCKETS, KEPT, LOOSE, bucket_names, simple_share, summarise
from examples.audit.values import KINDS, WORST, Comparison, TreeSummary
from tests.examples.trees import NOON, file, finding, function, tree


class TestSummary:
    def test_it_adds_up_the_files(self) -> None:
        whole = tree(file("a.py"), file("b.py", findings=(finding("b.py"),))).whole
        assert (whole.files, whole.lines, whole.code, whole.functions) == (2, 40, 20, 4)
        assert whole.findings == 1

    def test_it_does_not_depend_on_the_order_of_the_files(self) -> None:
        files = [file(f"p{n % 7}/m{n}.py", worst=(function(path=f"{n}"),)) for n in range(60)]
        mixed = random.Random(3).sample(files, len(files))
        assert tree(*mixed) == tree(*files)

    def test_every_complexity_has_one_bucket(self) -> None:
        summary = tree(file(complexities=tuple(range(1, 61))))
        assert sum(summary.distribution) == 60
        assert len(summary.distribution) == len(bucket_names()) == len(BUCKETS) + 1

    def test_buckets_are_named_by_what_they_hold(self) -> None:
        assert bucket_names()[:5] == ("1", "2", "3", "4–5", "6–10")
        assert bucket_names()[-1] == "51+"

    def test_the_share_of_simple_functions_ends_at_ten(self) -> None:
        assert simple_share(tree(file(complexities=(1, 10, 11, 99))).distribution) == 0.5

    def test_a_tree_without_functions_has_no_shares(self) -> None:
        summary = tree(file(complexities=(), documentable=0, documented=0, annotatable=0))
        assert summary.mean_complexity is None
        assert summary.whole.documentation is None
        assert simple_share(summary.distribution) is None

    def test_a_tree_without_files_is_a_tree(self) -> None:
        summary = summarise((), title="nothing", at=NOON)
        assert summary.whole.files == 0
        assert summary.packages == ()

    def test_the_worst_of_the_tree_are_the_worst_of_its_files(self) -> None:
        files = [file(f"{n:02}.py", worst=(function(complexity=n + 5),)) for n in range(40)]
        worst = tree(*files).worst
        assert [each.complexity for each in worst] == list(range(44, 44 - WORST, -1))

    def test_it_counts_all_findings_and_names_some(self) -> None:
        many = tuple(finding("big.py", line=n) for n in range(KEPT + 40))
        summary = tree(file("big.py", findings=many), file("z.py", findings=(finding("z.py"),)))
        assert summary.kinds[KINDS.index("bare except")] == KEPT + 41
        assert len(summary.findings) == KEPT

    def test_a_file_with_many_findings_does_not_hide_the_others(self) -> None:
        many = tuple(finding("big.py", line=n) for n in range(KEPT + 40))
        summary = tree(file("big.py", findings=many), file("z.py", findings=(finding("z.py"),)))
        assert "z.py" in {each.path for each in summary.findings}

    def test_graver_kinds_come_first(self) -> None:
        found = (finding(kind="complex function"), finding(kind="blocking call"))
        kinds = [each.kind for each in tree(file(findings=found)).findings]
        assert kinds == ["blocking call", "complex function"]

    def test_it_is_json_by_type(self) -> None:
        summary = tree(file(findings=(finding(),), worst=(function(),)))
        assert msgspec.json.decode(msgspec.json.encode(summary), type=TreeSummary) == summary


class TestPackages:
    @pytest.mark.parametrize(
        ("paths", "packages"),
        [
            (("a/x.py", "b/y.py", "z.py"), ("a", "b", LOOSE)),
            (("src/p/a/x.py", "src/p/b/y.py"), ("a", "b")),
            (("src/p/x.py", "src/p/b/y.py"), ("b", LOOSE)),
            (("x.py", "y.py"), (LOOSE,)),
            (("deep/down/x.py",), (LOOSE,)),
        ],
    )
    def test_they_are_the_first_folders_in_which_paths_differ(
        self, paths: tuple[str, ...], packages: tuple[str, ...]
    ) -> None:
        assert tuple(each.name for each in tree(*map(file, paths)).packages) == packages


def compared(before: TreeSummary, after: TreeSummary) -> Comparison:
    comparison = compare(before, after)
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison
    return comparison


class TestComparison:
    def test_a_tree_is_as_it_was(self) -> None:
        comparison = compared(tree(), tree())
        assert comparison.same == 1
        assert not comparison.worse + comparison.improved

    def test_files_come_and_go(self) -> None:
        comparison = compared(tree(file("a.py"), file("b.py")), tree(file("b.py"), file("c.py")))
        assert (comparison.added, comparison.removed) == (("c.py",), ("a.py",))

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"findings": (finding(), finding())}, "findings 0 → 2"),
            ({"complexities": (1, 17)}, "decisions too many 2 → 7"),
            ({"documented": 1}, "undocumented names 1 → 3"),
            ({"annotatable": 12}, "missing type hints 8 → 12"),
        ],
    )
    def test_every_growth_of_debt_is_worse_and_explained(
        self, change: dict[str, object], text: str
    ) -> None:
        (worse,) = compared(tree(file()), tree(file(**change))).worse  # type: ignore[arg-type]  # by name
        assert worse.text == text
        assert worse.debt > 0

    def test_what_is_worse_one_way_is_better_the_other_way(self) -> None:
        good, bad = tree(file()), tree(file(findings=(finding(),)))
        assert compared(good, bad).worse[0].debt == -compared(bad, good).improved[0].debt

    def test_the_largest_change_comes_first(self) -> None:
        before = tree(file("a.py"), file("b.py"))
        after = tree(file("a.py", documented=2), file("b.py", documented=0))
        assert [each.path for each in compared(before, after).worse] == ["b.py", "a.py"]

    def test_a_file_that_became_unreadable_is_worse(self) -> None:
        (worse,) = compared(tree(file()), tree(file(problem="not Python"))).worse
        assert worse.text == "not Python"

    def test_a_file_that_became_readable_is_better(self) -> None:
        (better,) = compared(tree(file(problem="not Python")), tree(file())).improved
        assert better.text == "no longer: not Python"

    def test_it_says_since_when(self) -> None:
        assert compared(tree(at="2020-01-01T00:00:00+00:00"), tree()).since.startswith("2020")
