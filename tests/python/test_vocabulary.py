"""The table of what is in Rust and in Python, in the crate's documentation, has every public name and no other."""

from __future__ import annotations

import re
from pathlib import Path

import overlapped

CRATE = Path(__file__).resolve().parents[2] / "crates/overlapped/src/lib.rs"


def rows() -> list[tuple[set[str], set[str]]]:
    lines = re.findall(r"^//! \| (.*?) \| (.*?) \| .*\|$", CRATE.read_text(encoding="utf-8"), re.MULTILINE)
    return [(set(re.findall(r"`(\w+)", rust)), set(re.findall(r"`(\w+)", python))) for rust, python in lines]


def test_every_public_name_of_the_package_is_in_the_table() -> None:
    named = set().union(*(python for _, python in rows()))
    assert named == set(overlapped.__all__)


def test_what_the_table_names_the_crate_has() -> None:
    public = set(re.findall(r"\w+", " ".join(re.findall(r"^pub use [^;]*;", CRATE.read_text("utf-8"), re.MULTILINE))))
    named = set().union(*(rust for rust, _ in rows()))
    assert named and named <= public, named - public
