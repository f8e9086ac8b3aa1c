"""Reports: what people read, as Markdown and as a page, with everything escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import attrs
import pytest

from examples.audit.history import compare
from examples.audit.markup import Markup, element, joined
from examples.audit.page import write_page
from examples.audit.pictures import Bar, bars, columns, tree_map
from examples.audit.report import write_report
from examples.audit.treemap import Box, laid_out
from examples.audit.values import Finding, Skipped, TreeSummary
from examples.audit.wording import counted, day, percent
from tests.examples.trees import file, finding, function, tree

EVIL = "<script>alert('x')</script>"
PLAIN = tree(
    file("p/a.py", findings=(finding("p/a.py"),), worst=(function(path="p/a.py"),)),
    file("q/b.py"),
    file("q/broken.py", complexities=(), code=0, problem="not Python: invalid syntax"),
)


def spoiled() -> TreeSummary:
    """Return a summary in which every text that a tree can choose is markup."""
    bad = Finding(kind="bare except", path=EVIL, line=1, place=EVIL, text=EVIL)
    files = (
        file(f"{EVIL}/a.py", findings=(bad,), worst=(function(EVIL, path=EVIL),)),
        file(f"other/{EVIL}", problem=EVIL),
    )
    return attrs.evolve(tree(*files, title=EVIL), skipped=(Skipped(path=EVIL, reason=EVIL),))


class Reader(HTMLParser):
    """Collects what a browser would do something about."""

    void = frozenset({"meta", "br", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class TestMarkup:
    def test_text_is_escaped_and_markup_is_not(self) -> None:
        inner = element("b", "1 < 2")
        assert element("p", "a & b ", inner) == "<p>a &amp; b <b>1 &lt; 2</b></p>"

    def test_attributes_are_escaped_and_spelled(self) -> None:
        made = element("i", class_='a"b', text_anchor="end", gone=None)
        assert made == '<i class="a&quot;b" text-anchor="end"></i>'

    def test_nothing_is_nothing(self) -> None:
        assert joined(None, Markup("<br>"), 0) == "<br>0"


class TestTreeMap:
    @pytest.mark.parametrize(
        "sizes", [[1.0], [5.0, 3.0, 1.0], [float(n) for n in range(90, 0, -1)]]
    )
    def test_areas_are_true_and_fill_the_box(self, sizes: list[float]) -> None:
        boxes = list(laid_out(sizes, Box(0, 0, 300, 200)))
        unit = 300 * 200 / sum(sizes)
        assert [box.width * box.height for box in boxes] == pytest.approx([s * unit for s in sizes])
        assert max(box.x + box.width for box in boxes) == pytest.approx(300)
        assert max(box.y + box.height for box in boxes) == pytest.approx(200)

    def test_boxes_do_not_overlap(self) -> None:
        boxes = list(laid_out([8.0, 5.0, 3.0, 2.0, 1.0, 1.0], Box(0, 0, 100, 60)))
        for at, one in enumerate(boxes):
            for other in boxes[at + 1 :]:
                wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
                high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
                assert min(wide, high) < 1e-6

    def test_boxes_are_nearly_square(self) -> None:
        boxes = list(laid_out([float(n) for n in range(60, 20, -1)], Box(0, 0, 400, 300)))
        assert all(1 / 3 < box.width / box.height < 3 for box in boxes)

    def test_nothing_fills_nothing(self) -> None:
        assert list(laid_out([], Box(0, 0, 10, 10))) == []


class TestPictures:
    @pytest.mark.parametrize(
        "picture",
        [
            bars([Bar(label=EVIL, length=2.0, shown="1")], name="a", title=EVIL),
            bars([], name="b", title="Nothing"),
            columns((1, 0, 2, 3, 4, 5, 6, 7, 8, 9), name="c", title="Columns"),
            columns((0,) * 10, name="d", title="No function"),
            tree_map(spoiled(), name="e", title="Map"),
        ],
    )
    def test_each_is_xml_that_says_what_it_shows(self, picture: str) -> None:
        svg = ElementTree.fromstring(picture)
        named = {each.get("id"): each for each in svg.iter() if each.get("id")}
        assert svg.get("role") == "img"
        assert all(
            named[name].text is not None for name in svg.get("aria-labelledby", "").split()[:1]
        )

    def test_a_map_of_very_many_files_merges_the_smallest(self) -> None:
        many = tree(*(file(f"m{n}.py", code=3_000 - n) for n in range(2_000)))
        picture = tree_map(many, name="map", title="Map")
        assert "800 smaller files" in picture
        assert picture.count("<rect") < 1_300

    def test_the_description_holds_the_numbers(self) -> None:
        picture = bars([Bar(label="left", length=0.5, shown="12 of 24")], name="n", title="T")
        assert '<desc id="n-text">left: 12 of 24</desc>' in picture


class TestPage:
    @pytest.fixture(params=["plain", "spoiled", "compared", "empty"])
    def page(self, request: pytest.FixtureRequest) -> str:
        return {
            "plain": lambda: write_page(PLAIN),
            "spoiled": lambda: write_page(spoiled(), compare(PLAIN, spoiled())),
            "compared": lambda: write_page(PLAIN, compare(tree(file("p/a.py")), PLAIN)),
            "empty": lambda: write_page(tree(file(complexities=(), code=0, documentable=0))),
        }[request.param]()

    def test_every_element_is_closed_where_it_should_be(self, page: str) -> None:
        assert Reader(page).open == []

    def test_it_loads_nothing_and_runs_nothing(self, page: str) -> None:
        reader = Reader(page)
        assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(reader.tags)
        assert not [name for name, _ in reader.attributes if name in ("src", "style", "srcset")]
        assert all(value == "#findings" for name, value in reader.attributes if name == "href")
        assert not re.search(r"url\(|@import", page)

    def test_ids_are_unique_and_labels_lead_to_them(self, page: str) -> None:
        found = Reader(page).attributes
        ids = [value for name, value in found if name == "id"]
        labels = " ".join(value or "" for name, value in found if name == "aria-labelledby")
        assert len(ids) == len(set(ids))
        assert set(labels.split()) <= set(ids)
        assert "findings" in ids

    def test_it_has_one_title_a_language_and_both_colour_schemes(self, page: str) -> None:
        reader = Reader(page)
        assert reader.tags.count("h1") == 1
        assert ("lang", "en") in reader.attributes
        assert "prefers-color-scheme: dark" in page

    def test_what_a_tree_says_is_shown_as_it_is(self) -> None:
        assert EVIL in Reader(write_page(spoiled())).text

    def test_it_says_what_has_changed(self) -> None:
        page = write_page(PLAIN, compare(tree(file("p/a.py")), PLAIN))
        assert "findings 0 → 1" in page
        assert "Since 3 February 2026, 12:00 UTC" in page


class TestReport:
    def test_it_names_the_measures_the_worst_and_the_findings(self) -> None:
        report = write_report(PLAIN)
        assert report.startswith("# Audit of a tree\n")
        assert "| Functions | 4 |" in report
        assert "| 12 | 9 | `f` | `p/a.py:1` |" in report
        assert "- `p/a.py:1` in `f`: `except:`" in report
        assert "- `q/broken.py`: not Python: invalid syntax" in report

    def test_it_says_what_has_changed(self) -> None:
        report = write_report(PLAIN, compare(tree(file("p/a.py"), file("z.py")), PLAIN))
        assert "- `p/a.py`: findings 0 → 1" in report
        assert "### Gone\n\n- `z.py`" in report

    def test_it_ends_with_one_newline_and_has_no_trailing_blanks(self) -> None:
        report = write_report(spoiled(), compare(PLAIN, spoiled()))
        assert report.endswith("\n")
        assert not report.endswith("\n\n")
        assert not [line for line in report.splitlines() if line != line.rstrip()]

    def test_text_cannot_become_markup(self) -> None:
        outside_code = re.sub(r"(`+).*?\1", "", write_report(spoiled()))
        assert "<script>" not in outside_code.replace("\\<", "").replace("\\>", "")

    def test_every_row_of_a_table_has_its_columns(self) -> None:
        odd = tree(file("a|b.py", worst=(function("f|g`", path="a|b.py"),)))
        for line in write_report(odd).splitlines():
            if line.startswith("| 12 |"):
                assert len(re.findall(r"(?<!\\)\|", line)) == 5


class TestWording:
    @pytest.mark.parametrize(
        ("part", "text"),
        [(None, "–"), (0.0, "0 %"), (0.5, "50 %"), (0.996, "99 %"), (1.0, "100 %")],
    )
    def test_only_what_is_complete_is_a_hundred_percent(
        self, part: float | None, text: str
    ) -> None:
        assert percent(part) == text

    def test_one_has_no_plural(self) -> None:
        assert (counted(1, "file"), counted(1_200, "file")) == ("1 file", "1,200 files")

    def test_a_moment_is_readable(self) -> None:
        assert day("2026-02-03T09:05:00+00:00") == "3 February 2026, 09:05 UTC"
