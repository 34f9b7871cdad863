"""What polling a meter costs: CPU time of its thread, and of processes that it starts.

    python tools/meter_cost.py [--seconds 30] [--root /]

Measures each meter of the machine that stands alone (no parts of others), at its own rate, one
after the other. On a machine without any, it does so over files of a few boards in a temporary
folder: what is then missing is what the drivers do when they are read, an I2C transfer of half a
millisecond for a register of a Jetson's monitors, most of it waiting. `vcgencmd` is replaced by a
shell script that prints a file.

CPU time is the whole process's and its children's (getrusage); the process does nothing else, and
what it takes with no thread at all is subtracted.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from edgeinfer.power import Meter, MeterThread, find_meters  # noqa: E402
from edgeinfer.printing import format_table  # noqa: E402

_PROMISE = 0.005  # of a core
_RAPL = "sys/class/powercap/intel-rapl:0"
_JETSON = "sys/bus/i2c/drivers/ina3221"
_PMIC = "".join(
    f"   RAIL{i}_A current({i})=0.10{i:06}A\n   RAIL{i}_V volt({i + 12})=1.10{i:06}V\n"
    for i in range(12)
)


def write_boards(folder: Path) -> None:
    """An x86 package with memory, a Jetson with one rail, one with four, and a Raspberry Pi 5."""
    x86: dict[str, str] = {}
    for zone, name in ((_RAPL, "package-0"), (f"{_RAPL}:0", "dram")):
        x86 |= {f"{zone}/name": name, f"{zone}/energy_uj": "1000000",
                f"{zone}/max_energy_range_uj": "262143328850"}  # fmt: skip
    orin_nano = _monitor("1-0040", "VDD_IN")
    agx_orin = _monitor("1-0040", "VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    agx_orin |= _monitor("1-0041", "VDDQ_VDD2_1V8AO")
    pi_5 = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0", "adc": _PMIC,
            "usr/bin/vcgencmd": f"#!/bin/sh\nexec cat {folder}/pi_5/adc\n"}  # fmt: skip
    boards = {"x86": x86, "orin_nano": orin_nano, "agx_orin": agx_orin, "pi_5": pi_5}
    for name, tree in boards.items():
        for path, text in tree.items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    (folder / "pi_5/usr/bin/vcgencmd").chmod(0o755)


def _monitor(device: str, *rails: str) -> dict[str, str]:
    folder = f"{_JETSON}/{device}/hwmon/hwmon{device[-1]}"
    tree: dict[str, str] = {}
    for channel, rail in enumerate(rails, 1):
        tree |= {f"{folder}/in{channel}_label": rail, f"{folder}/in{channel}_input": "5000",
                 f"{folder}/curr{channel}_input": "900"}  # fmt: skip
    return tree


def cpu_seconds() -> float:
    """User and system time of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def share_of_core(meter: Meter | None, seconds: float) -> float:
    """CPU time by time, with the meter's thread running, or with none."""
    thread = None if meter is None else MeterThread(meter)
    if thread is not None:
        thread.start()
    before, start = cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    share = (cpu_seconds() - before) / (time.monotonic() - start)
    if thread is not None:
        thread.stop()
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where a meter costs more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="for each (default 30)")
    parser.add_argument("--root", default="/", help="the folder with proc and sys")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        meters = [("", meter) for meter in find_meters(args.root) if meter.scope != "part"]
        if not meters:
            write_boards(Path(folder))
            boards = sorted(Path(folder).iterdir())
            meters = [(f"{b.name} ", find_meters(str(b))[0]) for b in boards]
        nothing = share_of_core(None, args.seconds)
        rows, worst = [], 0.0
        for board, meter in meters:
            share = share_of_core(meter, args.seconds) - nothing
            worst = max(worst, share)
            rows.append(
                [board + meter.name, f"{meter.interval:g}", f"{100 * share:.3f}",
                 f"{1e6 * share * meter.interval:.0f}"]
            )  # fmt: skip
    header = ["meter", "interval, s", "% of a core", "µs a reading"]
    print(format_table(header, rows, right=(1, 2, 3)))
    return int(worst > _PROMISE)


if __name__ == "__main__":
    sys.exit(main())
