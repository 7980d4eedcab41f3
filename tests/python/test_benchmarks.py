"""What `make bench` makes of its rounds, how its README takes them, and how it waits for a calm machine."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCHES = Path(__file__).resolve().parents[2] / "benches"
sys.path.append(str(BENCHES))

charts = pytest.importorskip("charts", reason="the benchmarks are not part of what is tested here")
import report  # noqa: E402
from tables import OURS, THREADS, Rounds, Table  # noqa: E402

COSTS = {"cpu_us": ("CPU", ".2f")}


def table(title: str, **contenders: list[float]) -> Table:
    rounds: Rounds = {
        name.replace("ours", OURS): [{"cpu_us": value, "others": 0.0} for value in values]
        for name, values in contenders.items()
    }
    return Table(title, rounds, {}, COSTS)


def chart(*tables: Table) -> "charts.Chart":
    made = charts.Chart("echo", "Echo, CPU & more")
    made.tables.extend(tables)
    return made


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_slows_both() -> None:
    ratio = table("", ours=[1.0, 10.0, 2.0], gevent=[2.0, 20.0, 6.0]).ratios("cpu_us")["gevent"]
    assert (ratio.median, ratio.least, ratio.greatest) == (2.0, 2.0, 3.0)
    assert str(ratio) == "2.00 (2.00 to 3.00)"


def test_a_contender_that_failed_later_is_compared_in_the_rounds_that_it_has() -> None:
    ratio = table("", ours=[1.0, 4.0], gevent=[2.0]).ratios("cpu_us")["gevent"]
    assert (ratio.median, ratio.least, ratio.greatest) == (2.0, 2.0, 2.0)


def test_the_line_in_which_a_peer_is_cheapest_stands_first_and_our_own_other_dress_counts_for_nothing() -> None:
    ahead = table("we are ahead", ours=[1.0], gevent=[2.0], **{THREADS: [0.5]})
    behind = table("we are behind", ours=[1.0], gevent=[0.9], **{THREADS: [1.1]})
    assert [line.label for line in chart(ahead, behind).lines()] == ["we are behind", "we are ahead"]


def test_a_table_of_the_readme_gives_our_cost_and_the_ratios_to_it() -> None:
    assert chart(table("50", ours=[1.0, 3.0], gevent=[2.0, 6.0])).markdown().splitlines() == [
        "| | ours | gevent |",
        "|---|---:|---:|",
        "| 50 | 2.00 | 2.00 (2.00 to 2.00) |",
    ]


def test_a_drawing_is_well_formed_and_names_every_contender_and_line() -> None:
    drawn = chart(table("50 < 500", ours=[1.0], gevent=[2.0]), table("8", ours=[1.0], uvloop=[0.01])).svg()
    words = "".join(ElementTree.fromstring(drawn).itertext())
    assert all(word in words for word in ("Echo, CPU & more", "50 < 500", "gevent", "uvloop"))


def test_a_table_goes_between_its_own_marks_and_leaves_the_rest() -> None:
    readme = "a\n<!-- chart one -->\nold\n<!-- end -->\nb\n<!-- chart two -->\nkept\n<!-- end -->\nc\n"
    written = report._between(readme, "one", "new")
    assert written == readme.replace("old", "new")
    assert report._between(written, "one", "newer") == readme.replace("old", "newer")


def test_a_chart_that_the_readme_does_not_know_yet_comes_at_its_end() -> None:
    assert report._between("a\n", "one", "new") == "a\n\n<!-- chart one -->\nnew\n<!-- end -->\n"


def test_what_a_run_has_saved_draws_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")
    ahead = table("ahead", ours=[1.0, 1.1], gevent=[2.0, 2.3], **{THREADS: [0.5, 0.5]})
    made = chart(ahead, table("behind", ours=[1.0], gevent=[0.9]))
    report.save([made], {"kernel": "6"}, 2)
    again = report.load()
    assert [c.svg() for c in again.charts] == [made.svg()]
    assert [c.markdown() for c in again.charts] == [made.markdown()]


class Clock:
    """Stands in for `time`: sleeping is all that takes any."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Machine:
    """A clock, and two cores with others' work and our own on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, others: float, ours: float = 0.0) -> None:
        calm = pytest.importorskip("calm", reason="the benchmarks run on Linux")
        clock = Clock()
        monkeypatch.setattr(calm, "time", clock)
        monkeypatch.setattr(calm.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(calm, "_busy", lambda: 2 * clock.now * (self.others + ours))
        monkeypatch.setattr(calm, "_ours", lambda: 2 * clock.now * ours)
        self.clock, self.calm, self.others = clock, calm, others


def test_what_we_did_ourselves_is_not_counted_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, others=0.25, ours=0.5)
    others = machine.calm.Others()
    machine.clock.sleep(4)
    assert others.share() == pytest.approx(0.25)


def test_a_calm_machine_is_not_waited_for_and_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(monkeypatch, others=0.01)
    calm = machine.calm.Calm(300)
    calm.wait()
    assert calm.waited == 0
    assert capsys.readouterr().err == ""


def test_a_busy_machine_is_waited_for_in_bounds_and_it_says_for_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(monkeypatch, others=0.9)
    calm = machine.calm.Calm(30)
    waited = []
    for _ in range(4):
        began = machine.clock.now
        calm.wait()
        waited.append(machine.clock.now - began)
    assert waited[0] == pytest.approx(calm.LONGEST, abs=calm.WINDOW)
    assert sum(waited) == pytest.approx(30, abs=4 * calm.WINDOW)
    said = capsys.readouterr().err
    assert "others take 90% of the cores; waiting up to 20 s" in said
    assert "waited 20 s; others take 90% now" in said
