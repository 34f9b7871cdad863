"""edgeinfer power and bench --energy: what is shown, on boards of several kinds."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import edgeinfer
from edgeinfer.cli import energy as energy_module
from edgeinfer.cli import main
from edgeinfer.cli.progress import Progress
from edgeinfer.power import ConstantMeter, ModelMeter, discover
from edgeinfer.power.device_energy import PROFILES
from edgeinfer.power.meter import Energy
from tests.core.programs import chain
from tests.power import boards
from tests.power.boards import POWERCAP, Board


@pytest.fixture
def on_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the commands the files of a board in place of this machine's."""

    def use(tree: boards.Tree) -> Board:
        board = Board(tmp_path / "board", tree)
        for name in ("find_meters", "best_meter", "why_unmetered"):
            monkeypatch.setattr(discover, name, partial(getattr(discover, name), files=board.files))
        return board

    return use


@pytest.fixture
def chain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(energy_module, "_IDLE_SECONDS", 0.01)
    for kind in (ModelMeter, ConstantMeter):
        monkeypatch.setattr(kind, "interval", 0.01)
    path = tmp_path / "chain.edge"
    path.write_bytes(chain().write())
    return path


@contextmanager
def package_drawing(board: Board, idle_watts: float, busy_watts: float) -> Iterator[Any]:
    """A package whose counter runs on by the real clock, faster while `busy` is set."""
    busy, stop = threading.Event(), threading.Event()

    def count() -> None:
        joules, before = 1000.0, time.monotonic()
        while not stop.wait(0.002):
            now = time.monotonic()
            joules += (now - before) * (busy_watts if busy.is_set() else idle_watts)
            before = now
            # Renamed into its place, as a reader must not find half of it.
            path = board.root / POWERCAP / "intel-rapl:0/energy_uj"
            path.with_suffix(".new").write_text(str(round(joules * 1e6)))
            path.with_suffix(".new").rename(path)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield busy
    finally:
        stop.set()
        thread.join()


def test_power_shows_every_meter_and_marks_the_best(
    on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board(boards.orin_nano())
    assert main(["power"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["meter", "W", "J", "origin", "source", "resolution", "covers"]
    assert lines[0].startswith("* ina3221 VDD_IN") and " 4.571 " in lines[0]
    assert " measured  ina3221  0.04 W  " in lines[0] and "not the carrier board" in lines[0]
    assert [line[:2] for line in lines[1:]] == ["  ", "  "]


def test_power_names_the_fault_and_what_to_do(
    on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    board = on_board(boards.n100())
    board.denied = {f"{POWERCAP}/{z}/energy_uj" for z in ("intel-rapl:0", "intel-rapl:1")}
    assert main(["power"]) == 0
    out = capsys.readouterr().out
    assert "* model" in out and "modelled ±60 %" in out
    assert "rapl package: no-permission (sys/class/powercap/intel-rapl:0/energy_uj: " in out
    assert "this user may not read the sensor; grant it: docs/power.md has a udev rule" in out
    assert main(["power", "--json", "--meter", "rapl psys"]) == 0
    document = json.loads(capsys.readouterr().out)
    (meter,) = document["meters"]
    assert (meter["name"], meter["fault"], meter["watts"]) == ("rapl psys", "no-permission", None)


def test_power_says_why_a_board_is_modelled(
    on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board(boards.pi_4())
    assert main(["power", "--watch", "--interval", "0.02", "--seconds", "0.05", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) >= 2 and lines[0]["best"] == "model"
    assert "Raspberry Pi 4" in lines[0]["reason"]
    assert lines[-1]["meters"][0]["joules"] > lines[0]["meters"][0]["joules"]
    assert threading.active_count() == 1


def test_power_refuses_a_meter_that_is_not_there(
    on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board(boards.pi_4())
    assert main(["power", "--meter", "rapl package"]) == 1
    assert "there is no meter 'rapl package' here; there are 'model'" in capsys.readouterr().err


def test_energy_of_a_run_by_a_counter(on_board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The joules that the counter showed, divided by the runs; idle subtracted and not."""
    board = on_board(boards.n100())
    model = edgeinfer.load(chain().write())
    meter = discover.best_meter()
    monkeypatch.setattr(energy_module, "_IDLE_SECONDS", 0.5)
    monkeypatch.setattr(meter, "interval", 0.01)
    with package_drawing(board, idle_watts=4.0, busy_watts=10.0) as busy:

        def call() -> None:
            busy.set()
            threading.Event().wait(0.01)

        found = energy_module.measure_energy(
            call, model.step_costs, meter, PROFILES["n100"], 0.8, Progress()
        )
    assert found.energy.origin == "measured" and found.meter == "rapl package"
    assert found.joules is not None and found.joules_above_idle is not None
    watts, idle = found.energy.watts, found.idle.watts
    assert watts is not None and idle is not None
    assert idle == pytest.approx(4, rel=0.3) and watts == pytest.approx(10, rel=0.3)
    assert found.joules == pytest.approx((found.energy.joules or 0) / found.runs)
    assert found.joules_above_idle == pytest.approx(
        ((found.energy.joules or 0) - idle * found.energy.seconds) / found.runs
    )
    assert found.error is not None and 0 < found.error < found.joules
    rows = found.step_rows()
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert sum(row["joules"] for row in rows) == pytest.approx(found.joules_above_idle)
    assert "measured by rapl package" in "\n".join(energy_module.energy_lines(found))


def test_bench_energy_is_modelled_and_marked_where_there_is_no_sensor(
    chain_file: Path, on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board(boards.pi_4())
    arguments = ["bench", str(chain_file), "--runs", "5", "--seconds", "0.05", "--energy"]
    assert main([*arguments, "--json"]) == 0
    energy = json.loads(capsys.readouterr().out)["energy"]
    model = edgeinfer.load(chain_file)
    modelled = PROFILES["pi-4"].of_run(model.step_costs)
    assert (energy["origin"], energy["meter"]) == ("modelled", "model")
    assert energy["idle_watts"] == pytest.approx(2.2)
    assert energy["joules_above_idle"] == pytest.approx(modelled, rel=1e-3)
    assert energy["error_above_idle"] == pytest.approx(0.5 * modelled, rel=1e-3)
    assert energy["joules"] > energy["joules_above_idle"]
    assert [row["step"] for row in energy["steps"]] == list(range(len(model.step_costs)))
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "energy of a run, modelled by model:" in out and "±" in out
    assert "with idle" in out and "above idle" in out and "a model of Raspberry Pi 4" in out
    assert "Raspberry Pi 4 Model B Rev 1.5: this board has no power sensor" in out


def test_energy_that_no_reading_shows_is_unknown(chain_file: Path) -> None:
    nothing = Energy(None, 1.0, 1.0, "measured", "rapl", "x", None, None)
    model = edgeinfer.load(chain_file)
    found = energy_module.RunEnergy(
        "m", nothing, nothing, 3, None, None, PROFILES["n100"], model.step_costs
    )
    assert found.joules is found.joules_above_idle is found.error is found.error_above_idle is None
    assert "unknown: the meter gave no reading" in "\n".join(energy_module.energy_lines(found))
    assert {row["joules"] for row in found.step_rows()} == {None}
    assert "unknown" in energy_module.energy_table(found, everything=True)


def test_energy_by_a_constant_has_nothing_above_idle(
    chain_file: Path, on_board: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_board(boards.n100())
    options = ["--runs", "3", "--seconds", "0.05", "--energy", "--meter", "6.5W"]
    assert main(["bench", str(chain_file), *options]) == 0
    out = capsys.readouterr().out
    assert "constant by 6.5W:" in out and re.search(r"above idle +unknown", out)


def test_meter_without_energy_is_wrong_usage(chain_file: Path) -> None:
    assert main(["bench", str(chain_file), "--meter", "model"]) == 2
