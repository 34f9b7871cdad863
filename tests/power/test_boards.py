"""What each board's sensors are read as: which meters there are, units, and what they cover."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import InputError
from edgeinfer.power import ModelMeter, best_meter, find_meters, why_unmetered
from edgeinfer.power.faults import Fault
from edgeinfer.power.meter import Meter
from tests.power import boards
from tests.power.boards import POWERCAP, Board


def meters_of(board: Board) -> dict[str, Meter]:
    found = find_meters(clock=board.clock, files=board.files)
    assert len({meter.name for meter in found}) == len(found)
    return {meter.name: meter for meter in found}


def best_of(board: Board) -> Meter:
    return best_meter(clock=board.clock, files=board.files)


def watts_of(meter: Meter) -> float:
    reading = meter.read()
    assert reading.fault is None, reading.detail
    assert reading.origin == meter.origin and reading.covers == meter.covers
    assert reading.watts is not None
    return reading.watts


def test_an_n100_counts_its_package_once(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.n100())
    meters = meters_of(board)
    assert list(meters) == ["rapl package", "rapl psys", "rapl package-0 core",
                            "rapl package-0 uncore"]  # fmt: skip
    meter = best_of(board)
    assert meter.name == "rapl package" and meter.scope == "chip"
    meter = meters["rapl package"]
    assert meter.read().joules == 0
    board.write(boards.rapl_zone("intel-rapl:0", "package-0", 1003.0))
    board.write(boards.rapl_zone("intel-rapl-mmio:0", "package-0", 1003.0))
    board.clock.now += 0.5
    reading = meter.read()
    assert reading.joules == pytest.approx(3.0)
    assert reading.watts == pytest.approx(6.0)
    assert (reading.source, reading.origin, reading.unit) == ("rapl", "measured", "J")
    assert reading.resolution == 2**-14
    assert "memory is not included" in reading.covers


def test_the_mapped_registers_stand_in_where_they_are_all_there_is(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.rapl_zone("intel-rapl-mmio:0", "package-0", 7.0))
    assert list(meters_of(board)) == ["rapl package"]


def test_two_sockets_and_their_memory_are_added(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.two_sockets())
    meter = meters_of(board)["rapl package"]
    assert meter.covers.startswith("2 processor packages and the memory on it")
    meter.read()
    for zone, name, joules in (
        ("intel-rapl:0", "package-0", 101), ("intel-rapl:0:0", "dram", 12),
        ("intel-rapl:1", "package-1", 204), ("intel-rapl:1:0", "dram", 28),
    ):  # fmt: skip
        board.write(boards.rapl_zone(zone, name, joules, 65_532_610_987))
    board.clock.now += 1
    assert meter.read().joules == pytest.approx(1 + 2 + 4 + 8)


def test_counters_that_root_alone_may_read_say_how_to_grant_it(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.n100())
    board.denied = {f"{POWERCAP}/{zone}/energy_uj" for zone in ("intel-rapl:0", "intel-rapl:1")}
    reading = meters_of(board)["rapl package"].read()
    assert (reading.fault, reading.joules, reading.watts) == (Fault.NO_PERMISSION, None, None)
    assert "intel-rapl:0/energy_uj" in reading.detail
    assert "udev rule" in Fault.NO_PERMISSION.advice
    assert why_unmetered(files=board.files).startswith("rapl package: this user may not read")
    fallback = best_of(board)
    assert isinstance(fallback, ModelMeter) and fallback.profile.name == "Intel N100 box"


def test_an_orin_nano_by_its_input_rail(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.orin_nano())
    meters = meters_of(board)
    assert list(meters) == ["ina3221 VDD_IN", "ina3221 VDD_CPU_GPU_CV", "ina3221 VDD_SOC"]
    assert best_of(board).name == "ina3221 VDD_IN"
    assert watts_of(meters["ina3221 VDD_IN"]) == pytest.approx(4.968 * 0.920)
    assert watts_of(meters["ina3221 VDD_SOC"]) == pytest.approx(4.960 * 0.280)
    reading = meters["ina3221 VDD_IN"].read()
    assert reading.resolution == pytest.approx(40e-6 / 5e-3 * 4.968)
    assert reading.unit == "W" and "carrier board" in reading.covers


def test_an_agx_orin_by_the_sum_of_its_rails(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.agx_orin())
    meters = meters_of(board)
    assert "ina3221 NC" not in meters
    assert not any("sum of shunt" in name for name in meters)
    total = 11 * 0.3 + 11 * 0.12 + 4.968 * 0.95 + 4.968 * 0.22
    assert watts_of(best_of(board)) == watts_of(meters["ina3221 sum"]) == pytest.approx(total)


def test_a_jetson_nano_in_the_older_layout(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.jetson_nano())
    assert best_of(board).name == "ina3221 POM_5V_IN"
    assert watts_of(best_of(board)) == pytest.approx(2.130)
    assert watts_of(meters_of(board)["ina3221 POM_5V_CPU"]) == pytest.approx(0.410)


def test_a_thor_by_the_monitor_at_its_input(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.thor())
    assert best_of(board).name == "ina238 2-0044"
    assert watts_of(best_of(board)) == pytest.approx(31.25)


def test_hwmon_folders_may_change_their_numbers(tmp_path: Path) -> None:
    board = Board(tmp_path, {**boards.orin_nano(), **boards.hwmon_machine()})
    meters = meters_of(board)
    names = ("ina3221 VDD_IN", "hwmon amdgpu PPT")
    before = [watts_of(meters[name]) for name in names]
    chip = f"{boards.I2C}/ina3221/1-0040/hwmon"
    (tmp_path / chip / "hwmon1").rename(tmp_path / chip / "hwmon7")
    hwmon = tmp_path / "sys/class/hwmon"
    (hwmon / "hwmon1").rename(hwmon / "hwmon9")
    board.write({"sys/class/hwmon/hwmon1/name": "nvme\n",
                 "sys/class/hwmon/hwmon1/power1_input": "77000000\n"})  # fmt: skip
    board.clock.now += 0.1
    assert [watts_of(meters[name]) for name in names] == before


def test_a_pi_5_by_the_rails_that_have_a_current(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.pi_5())
    boards.vcgencmd(board, f"[ $1 = pmic_read_adc ] && cat <<'E'\n{boards.PMIC_TEXT}E")
    meter = best_of(board)
    assert meter.name == "pmic" and "5 V" in meter.covers
    assert watts_of(meter) == pytest.approx(boards.PMIC_WATTS)
    (asked,) = find_meters(files=board.files, ask_pmic=lambda: boards.PMIC_TEXT)
    assert watts_of(asked) == pytest.approx(boards.PMIC_WATTS)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo 'VCHI initialization failed' >&2; exit 255", Fault.COMMAND_FAILED),
        ("echo 'error=1 error_msg=\"Command not registered\"'", Fault.NOT_A_NUMBER),
        ("echo 'X_A current(0)=nanA'; echo 'X_V volt(1)=1.0V'", Fault.NOT_A_NUMBER),
        ("echo 'X_A current(0)=1.0A'", Fault.NOT_A_NUMBER),
        ("echo 'X_A current(0)=-1.0A'; echo 'X_V volt(1)=1.0V'", Fault.NEGATIVE),
        ("echo 'X_A current(0)=999.0A'; echo 'X_V volt(1)=1.0V'", Fault.IMPLAUSIBLE),
        ("head -c 100000 /dev/urandom", Fault.NOT_A_NUMBER),
        ("exec sleep 30", Fault.COMMAND_TIMEOUT),
    ],
)
def test_what_vcgencmd_may_do_instead(
    tmp_path: Path, script: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeinfer.power.pmic._SECONDS", 0.3 if "sleep" in script else 10.0)
    board = Board(tmp_path, boards.pi_5())
    boards.vcgencmd(board, script)
    reading = meters_of(board)["pmic"].read()
    assert reading.fault is fault and reading.watts is None and reading.detail


def test_a_pi_5_without_vcgencmd(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.pi_5())
    assert meters_of(board)["pmic"].read().fault is Fault.COMMAND_FAILED


def test_a_pi_4_has_no_sensor_and_is_told_so(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.pi_4())
    boards.vcgencmd(board, "exit 1")
    assert meters_of(board) == {}
    assert "Raspberry Pi 4" in (why := why_unmetered(files=board.files))
    assert "no power sensor" in why
    meter = best_of(board)
    assert isinstance(meter, ModelMeter) and meter.profile.name == "Raspberry Pi 4"
    reading = meter.read()
    assert reading.origin == "modelled" and reading.error == 0.5


def test_batteries_while_they_are_discharged(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.laptop())
    meter = best_of(board)
    assert meter.name == "battery" and "BAT0 + BAT1" in meter.covers
    assert watts_of(meter) == pytest.approx(6.5 + 0.25 * 12)
    board.write({"sys/class/power_supply/BAT1/status": "Not charging\n"})
    assert watts_of(meter) == pytest.approx(6.5)
    board.write({"sys/class/power_supply/BAT1/status": "Charging\n"})
    assert meter.read().fault is Fault.NOT_DISCHARGING
    for battery in ("BAT0", "BAT1"):
        board.write({f"sys/class/power_supply/{battery}/status": "Full\n"})
    assert meter.read().fault is Fault.NOT_DISCHARGING


def test_sensors_of_any_driver(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.hwmon_machine())
    meters = meters_of(board)
    assert set(meters) == {"hwmon power_meter power1", "hwmon amdgpu PPT",
                           "hwmon amd_energy Esocket0"}  # fmt: skip
    assert best_of(board).name == "hwmon power_meter power1"
    assert watts_of(meters["hwmon power_meter power1"]) == 42
    assert watts_of(meters["hwmon amdgpu PPT"]) == 9
    counter = meters["hwmon amd_energy Esocket0"]
    counter.read()
    board.write({"sys/class/hwmon/hwmon2/energy1_input": "502500000\n"})
    board.clock.now += 0.5
    assert watts_of(counter) == pytest.approx(5)


def test_a_sensor_that_is_only_a_part_is_never_the_best(tmp_path: Path) -> None:
    tree = {p: t for p, t in boards.hwmon_machine().items() if "/hwmon0/" not in p}
    assert isinstance(best_of(Board(tmp_path, tree)), ModelMeter)


def test_the_kernels_own_reckoning_is_marked_as_modelled(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.dtpm_board())
    meters = meters_of(board)
    assert [meter.scope for meter in meters.values()] == ["chip", "part", "part"]
    assert watts_of(meters["dtpm 0 rk3399"]) == pytest.approx(1.2)
    assert best_of(board).origin == "modelled"


def test_a_meter_by_its_name(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.n100())
    assert best_meter(files=board.files, name="rapl psys").scope == "board"
    assert isinstance(best_meter(files=board.files, name="model"), ModelMeter)
    with pytest.raises(InputError, match="no meter 'rapl' here; there are 'rapl package'"):
        best_meter(files=board.files, name="rapl")
    with pytest.raises(InputError, match=r"or a constant such as '6\.5W'"):
        best_meter(files=board.files, name="W")
    with pytest.raises(InputError, match="meter is '0W'; it must be above 0"):
        best_meter(files=board.files, name="0W")


def test_a_constant_is_marked_as_one(tmp_path: Path) -> None:
    board = Board(tmp_path, boards.pi_4())
    meter = best_meter(files=board.files, clock=board.clock, name="6.5W")
    board.clock.now += 2
    reading = meter.read()
    assert (reading.joules, reading.watts, reading.origin) == (13.0, 6.5, "constant")
    assert meter.name == "6.5W" and "do not follow load" in reading.covers
    board.clock.now -= 1
    assert (meter.read().fault, meter.read().joules) == (Fault.CLOCK, 13.0)


EVERYTHING = {
    **boards.n100(), **boards.orin_nano(), **boards.jetson_nano(), **boards.thor(),
    **boards.laptop(), **boards.hwmon_machine(), **boards.dtpm_board(), **boards.pi_5(),
}  # fmt: skip


@pytest.fixture(scope="module")
def every_board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(tmp_path_factory.mktemp("every_board"), EVERYTHING)


@settings(max_examples=20)
@given(
    st.dictionaries(
        st.sampled_from(sorted(EVERYTHING)),
        st.one_of(st.binary(max_size=24), st.sampled_from([None, b"", b"NC", b"-1", b"9" * 30])),
        max_size=30,
    ),
    st.lists(st.sampled_from(["²", "hwmon", "hwmon\x01", "intel-rapl:", "dtpm:٣", "1-00zz"])),
)
def test_no_file_of_any_kind_breaks_finding_and_reading(
    every_board: Board, contents: dict[str, bytes | None], strange: list[str]
) -> None:
    """None is a folder in the file's place. Names of meters stay distinct; faults have names."""
    board = every_board
    for path, data in contents.items():
        if data is None:
            board.unreadable(path)
        else:
            (board.root / path).write_bytes(data)
    for name in strange:
        for parent in (POWERCAP, "sys/class/hwmon", f"{boards.I2C}/ina3221"):
            (board.root / parent / name).mkdir(exist_ok=True)
    try:
        meters = find_meters(files=board.files, clock=board.clock, ask_pmic=lambda: "")
        assert len({meter.name for meter in meters}) == len(meters) > 0
        for _ in range(2):
            board.clock.now += 1
            for meter in meters:
                reading = meter.read()
                assert reading.fault is not None or (reading.joules or 0) >= 0
        assert best_meter(files=board.files, ask_pmic=lambda: "").read().fault is None
        assert why_unmetered(files=board.files).endswith("energy is modelled")
    finally:
        board.write({path: EVERYTHING[path] for path in contents})


def test_meters_of_one_name_are_told_apart(tmp_path: Path) -> None:
    rails = ("VDD_X", 5000, 100), ("VDD_X", 5000, 200)
    board = Board(tmp_path, boards.ina3221("1-0040", 1, *rails))
    meters = meters_of(board)
    assert list(meters) == ["ina3221 sum", "ina3221 VDD_X", "ina3221 VDD_X #2"]
    assert watts_of(meters["ina3221 VDD_X #2"]) == pytest.approx(1.0)
