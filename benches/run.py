"""Measures Overlapped beside its peers: `python benches/run.py [SCENE ...] [--rounds N] [--quick] [--write-readme]`.

What each scene measures, and why CPU a request is the figure that counts, is told in `README.md` beside this file.
Tables go to stdout, every round's figures to `results.json`, drawings to where `report.py` says.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import building
import report
from calm import Calm
from charts import Chart
from plan import Plan
from scenes import SCENES

ROUNDS = 5
PATIENCE = 300.0


def environment(plan: Plan) -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    stat = subprocess.run(["stat", "-f", "-c", "%T", plan.files_in], capture_output=True, text=True)
    told = {
        "kernel": platform.release(),
        "cores": str(os.cpu_count()),
        "processor": model,
        "files on": stat.stdout.strip(),
    }
    return told | building.versions(plan.programs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Overlapped beside its peers, in interleaved rounds.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; else all")
    parser.add_argument("--rounds", type=int, help=f"rounds of each table ({ROUNDS}; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="short rounds, two of the echoes")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--write-readme", action="store_true", help="put tables and drawings into the README")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help="seconds to wait for a calm machine, in the whole run (%(default)g)",
    )
    parser.add_argument(
        "--files-in", type=Path, default=Path(tempfile.gettempdir()), help="where the files scene works"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.scenes) - set(SCENES):
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    rounds = chosen.rounds or (3 if chosen.quick else ROUNDS)
    if chosen.write_readme and (chosen.quick or rounds < report.ENOUGH):
        parser.error(f"the README takes whole runs alone, of {report.ENOUGH} rounds or more")

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("warning: one core only: server and load share it; look at CPU a request alone", file=sys.stderr)
    programs = building.rust(not chosen.no_build)
    if "load" not in programs:
        sys.exit("the Rust programs did not build: nothing to measure with")
    plan = Plan(
        programs=programs,
        modules=building.python(not chosen.no_build),
        quick=chosen.quick,
        rounds=rounds,
        seconds=0.4 if chosen.quick else 1.0,
        server_core=cores[0],
        load_core=cores[-1],
        files_in=chosen.files_in,
        calm=Calm(chosen.patience),
    )
    told = environment(plan)
    print(", ".join(f"{what} {value}" for what, value in told.items()))
    charts: list[Chart] = []
    for scene in chosen.scenes or SCENES:
        for chart in SCENES[scene](plan):
            charts.append(chart)
            report.save(charts, told, rounds)
            report.write([chart], told, rounds, chosen.write_readme)
    if plan.calm.waited:
        print(f"\nwaited {plan.calm.waited:.0f} s in all for a calm machine", file=sys.stderr)


if __name__ == "__main__":
    main()
