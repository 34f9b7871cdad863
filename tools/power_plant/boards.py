"""The boards that are simulated, and where each figure comes from.

Idle power and power with all cores busy are those of `edgeinfer/power/device_energy.py`, which
names their sources; for a meter that sees less than the board they are split as said below. What
is marked "estimated" was published nowhere that we know, and is of a plausible size: nothing here
was measured on a board.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sensor:
    """How a meter sees the power."""

    kind: str
    """model, pmic, ina3221 or rapl."""
    noise: float
    """Relative standard deviation of a reading."""
    delay: float
    """Seconds ago that the shown value was so."""
    average: float
    """Seconds over which the sensor averages."""


@dataclass(frozen=True)
class Board:
    """One device, as far as its power is concerned."""

    name: str
    model: str
    """As its device tree or /proc/cpuinfo says it."""
    cores: int
    idle_watts: float
    """At 40 °C, of what the meter covers."""
    busy_watts: float
    """With all cores busy at the highest clock, of what the meter covers."""
    uncore_share: float
    """Of what a load adds, the part that one busy core brings already."""
    scaling: float
    """n threads are n ** scaling times as fast as one."""
    leak_watts: float
    """Of the idle power, at 40 °C; grows by half with every 15 degrees."""
    khz: tuple[int, ...]
    """Clocks, rising."""
    volts: tuple[float, ...]
    """At each of them."""
    kelvin_per_watt: float
    seconds_to_warm: float
    """Time constant of the heat sink."""
    trip_celsius: float
    """Where the kernel or the firmware begins to lower the clock."""
    sensor: Sensor
    sources: tuple[str, ...]


PI_4 = Board(
    name="pi-4",
    model="Raspberry Pi 4 Model B Rev 1.4",
    cores=4,
    idle_watts=2.2,
    busy_watts=5.4,
    uncore_share=0.2,
    scaling=0.8,
    leak_watts=0.05,
    khz=(600_000, 1_000_000, 1_200_000, 1_500_000),
    volts=(0.80, 0.83, 0.86, 0.88),
    kelvin_per_watt=7.5,
    seconds_to_warm=150.0,
    trip_celsius=80.0,
    sensor=Sensor("model", 0.0, 0.0, 0.0),
    sources=(
        "2.2 W idle, 5.4 W busy: edgeinfer/power/device_energy.py, PI_4",
        "clocks 600 to 1500 MHz, throttling from 80 °C: Raspberry Pi documentation, "
        "'Frequency management and thermal control'",
        "7.5 K/W without a heat sink: 6.4 W of the Raspberry Pi blog, 'Thermal testing Raspberry "
        "Pi 4', reach 80 °C at 25 to 30 °C around it; 150 s: estimated",
        "voltages, scaling, leakage and the share of the uncore: estimated",
    ),
)
PI_5 = Board(
    name="pi-5",
    model="Raspberry Pi 5 Model B Rev 1.0",
    cores=4,
    idle_watts=1.6,
    busy_watts=5.5,
    uncore_share=0.2,
    scaling=0.85,
    leak_watts=0.15,
    khz=(1_500_000, 1_800_000, 2_100_000, 2_400_000),
    volts=(0.72, 0.76, 0.82, 0.90),
    kelvin_per_watt=5.5,
    seconds_to_warm=120.0,
    trip_celsius=80.0,
    sensor=Sensor("pmic", 0.01, 0.005, 0.0),
    sources=(
        "at the rails that the power management chip sees: 1.55 W idle and 2.4 W at the input "
        "(edgeinfer/power/device_energy.py, PI_5); busy by the same fit, (6.9 - 0.59) / 1.145",
        "clocks 1500 to 2400 MHz, throttling from 80 °C: Raspberry Pi documentation, 'Frequency "
        "management and thermal control'",
        "voltages, 5.5 K/W and 120 s with the active cooler, scaling, leakage, share of the "
        "uncore, 1 % noise and 5 ms delay of the sensor: estimated",
    ),
)
ORIN_NANO = Board(
    name="orin-nano",
    model="NVIDIA Jetson Orin Nano Developer Kit",
    cores=6,
    idle_watts=4.0,
    busy_watts=7.6,
    uncore_share=0.25,
    scaling=0.85,
    leak_watts=0.4,
    khz=(729_600, 1_036_800, 1_344_000, 1_510_400),
    volts=(0.62, 0.68, 0.76, 0.82),
    kelvin_per_watt=4.0,
    seconds_to_warm=100.0,
    trip_celsius=99.0,
    sensor=Sensor("ina3221", 0.005, 0.04, 0.02),
    sources=(
        "4.0 W idle, 7.6 W busy at VDD_IN: edgeinfer/power/device_energy.py, ORIN_NANO",
        "1510 MHz, software throttling from 99 °C: Jetson Linux Developer Guide, 'Jetson Orin "
        "Nano Series', clocks and thermal management",
        "INA3221: shunts of 5 mOhm, steps of 40 µV and 8 mV: Texas Instruments, INA3221 data sheet",
        "voltages, 4 K/W and 100 s with its fan, scaling, leakage, share of the uncore, 0.5 % "
        "noise, 40 ms delay: estimated",
    ),
)
N100 = Board(
    name="n100",
    model="Intel(R) N100",
    cores=4,
    idle_watts=1.8,
    busy_watts=11.8,
    uncore_share=0.2,
    scaling=0.6,
    leak_watts=0.3,
    khz=(800_000, 1_500_000, 2_200_000, 2_900_000),
    volts=(0.65, 0.75, 0.88, 1.02),
    kelvin_per_watt=4.5,
    seconds_to_warm=200.0,
    trip_celsius=105.0,
    sensor=Sensor("rapl", 0.0, 0.001, 0.0),
    sources=(
        "10 W more when busy: edgeinfer/power/device_energy.py, N100; 1.8 W for the package at "
        "idle: estimated",
        "105 °C: Intel ARK, N100, junction temperature; energy in steps of 61 µJ: Intel SDM, "
        "volume 3, MSR_RAPL_POWER_UNIT",
        "one memory channel holds back four threads, so that two are thriftier: scaling estimated",
        "clocks' voltages, 4.5 K/W and 200 s of a box without a fan, leakage, share of the uncore: "
        "estimated",
    ),
)

BOARDS = {board.name: board for board in (PI_4, PI_5, ORIN_NANO, N100)}
