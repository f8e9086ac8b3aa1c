"""The inventory: which files of a tree are found, and what becomes of the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from examples.audit.inventory import take_stock


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def test_python_files_are_listed_sorted_with_forward_slashes(tmp_path: Path) -> None:
    plant(tmp_path, "b.py", "a/z.py", "a/b/c.py", "notes.txt", "a/data.pyc")
    assert take_stock(tmp_path).files == ("a/b/c.py", "a/z.py", "b.py")


@pytest.mark.parametrize("folder", ["tests", "__pycache__", "site-packages", ".git", ".venv"])
def test_folders_of_others_are_left_out(tmp_path: Path, folder: str) -> None:
    plant(tmp_path, "kept.py", f"deep/{folder}/left.py")
    assert take_stock(tmp_path).files == ("kept.py",)


def test_the_root_is_audited_whatever_it_is_called(tmp_path: Path) -> None:
    root = plant(tmp_path / "tests", "kept.py")
    assert take_stock(root).files == ("kept.py",)


def test_a_root_may_be_one_file(tmp_path: Path) -> None:
    plant(tmp_path, "alone.py", "other.py")
    assert take_stock(tmp_path / "alone.py").files == ("alone.py",)


def test_a_loop_of_links_is_not_entered(tmp_path: Path) -> None:
    plant(tmp_path, "a/kept.py")
    (tmp_path / "a/up").symlink_to(tmp_path)
    assert take_stock(tmp_path).files == ("a/kept.py",)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.py").symlink_to(tmp_path / "self.py")
    inventory = take_stock(tmp_path)
    assert inventory.files == ()
    assert [each.path for each in inventory.skipped] == ["broken.py", "self.py"]


def test_a_folder_that_looks_like_a_file_is_entered(tmp_path: Path) -> None:
    plant(tmp_path, "odd.py/kept.py")
    assert take_stock(tmp_path).files == ("odd.py/kept.py",)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    plant(tmp_path, "locked/hidden.py", "kept.py")
    (tmp_path / "locked").chmod(0)
    inventory = take_stock(tmp_path)
    (tmp_path / "locked").chmod(0o700)
    assert inventory.files == ("kept.py",)
    assert [each.path for each in inventory.skipped] == ["locked"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_named_as_well_as_may_be(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.py", "wb"):
        pass
    inventory = take_stock(tmp_path)
    assert inventory.files == ()
    assert inventory.skipped[0].path.endswith(".py")
    assert inventory.skipped[0].path.isascii()


def test_a_root_that_is_gone_is_named(tmp_path: Path) -> None:
    assert [each.path for each in take_stock(tmp_path / "gone").skipped] == ["."]
