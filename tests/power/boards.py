"""The power sensors of some boards as files: what a kernel shows, and what may go wrong with it.

Written after drivers' documentation and published listings: nothing was copied off a device.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgeinfer.power.sensor_files import SensorFiles
from tests.system.recorded import Tree

POWERCAP = "sys/class/powercap"
I2C = "sys/bus/i2c/drivers"
RANGE_UJ = 262_143_328_850  # of an N100's package; 65 kJ on servers


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Board:
    """A tree of files below a folder, that a test changes."""

    def __init__(self, root: Path, tree: Tree) -> None:
        self.root = root
        self.clock = Clock()
        self.denied: set[str] = set()  # root may read everything, so it is the opener that refuses
        self.files = SensorFiles(str(root), self._open)
        self.write(tree)

    def write(self, tree: Tree) -> None:
        for path, text in tree.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                target.rmdir()
            target.write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def unreadable(self, path: str) -> None:
        """A file that fails when it is read, as that of a part that is switched off."""
        self.remove(path)
        (self.root / path).mkdir()

    def _open(self, path: str, flags: int) -> int:
        if os.path.relpath(path, self.root) in self.denied:
            raise PermissionError(13, "Permission denied", path)
        return os.open(path, flags)


def rapl_zone(zone: str, name: str, joules: float, range_uj: int = RANGE_UJ) -> Tree:
    folder = f"{POWERCAP}/{zone}"
    return {
        f"{folder}/name": f"{name}\n",
        f"{folder}/energy_uj": f"{round(joules * 1e6)}\n",
        f"{folder}/max_energy_range_uj": f"{range_uj}\n",
        f"{folder}/enabled": "1\n",
    }


def n100() -> Tree:
    return {
        **rapl_zone("intel-rapl:0", "package-0", 1000.0),
        **rapl_zone("intel-rapl:0:0", "core", 400.0),
        **rapl_zone("intel-rapl:0:1", "uncore", 50.0),
        **rapl_zone("intel-rapl:1", "psys", 3000.0),
        **rapl_zone("intel-rapl-mmio:0", "package-0", 1000.0),
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) N100\n",
    }


def two_sockets() -> Tree:
    return {
        **rapl_zone("intel-rapl:0", "package-0", 100.0, 65_532_610_987),
        **rapl_zone("intel-rapl:0:0", "dram", 10.0, 65_532_610_987),
        **rapl_zone("intel-rapl:1", "package-1", 200.0, 65_532_610_987),
        **rapl_zone("intel-rapl:1:0", "dram", 20.0, 65_532_610_987),
    }


def ina3221(device: str, hwmon: int, *rails: tuple[str, int, int], shunt: int = 5000) -> Tree:
    """Rails by label, mV and mA, in the layout of the kernel's own driver."""
    folder = f"{I2C}/ina3221/{device}/hwmon/hwmon{hwmon}"
    tree = {
        f"{folder}/name": "ina3221\n",
        f"{folder}/in7_label": "sum of shunt voltages\n",
        f"{folder}/in7_input": "760\n",
        f"{folder}/curr4_input": "360\n",
    }
    for channel, (label, millivolts, milliamperes) in enumerate(rails, 1):
        tree[f"{folder}/in{channel}_label"] = f"{label}\n"
        tree[f"{folder}/in{channel}_input"] = f"{millivolts}\n"
        tree[f"{folder}/curr{channel}_input"] = f"{milliamperes}\n"
        tree[f"{folder}/in{channel + 3}_input"] = "3800\n"  # over the shunt, in µV
        tree[f"{folder}/shunt{channel}_resistor"] = f"{shunt}\n"
    return tree


def orin_nano() -> Tree:
    rails = ("VDD_IN", 4968, 920), ("VDD_CPU_GPU_CV", 4960, 168), ("VDD_SOC", 4960, 280)
    return {
        **ina3221("1-0040", 1, *rails),
        "sys/class/hwmon/hwmon1/name": "ina3221\n",  # the same chip, as hwmon lists it
        "sys/class/hwmon/hwmon1/power1_input": "4570560\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    }


def agx_orin() -> Tree:
    first = ("VDD_GPU_SOC", 11000, 300), ("VDD_CPU_CV", 11000, 120), ("VIN_SYS_5V0", 4968, 950)
    second = ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4968, 220), ("NC", 0, 0)
    return {
        **ina3221("1-0040", 3, *first, shunt=2000),
        **ina3221("1-0041", 4, *second, shunt=2000),
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    }


def jetson_nano() -> Tree:
    """JetPack 4: the vendor's driver, with power in mW."""
    folder = f"{I2C}/ina3221x/6-0040/iio:device0"
    tree = {"proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"}
    rails = ("POM_5V_IN", 2130), ("POM_5V_GPU", 40), ("POM_5V_CPU", 410)
    for channel, (label, milliwatts) in enumerate(rails):
        tree[f"{folder}/rail_name_{channel}"] = f"{label}\n"
        tree[f"{folder}/in_power{channel}_input"] = f"{milliwatts}\n"
    return tree


def thor() -> Tree:
    folder = f"{I2C}/ina238/2-0044/hwmon/hwmon5"
    return {
        f"{folder}/name": "ina238\n",
        f"{folder}/power1_input": "31250000\n",
        **ina3221("2-0040", 6, ("VDD_GPU", 9000, 500), ("VDD_CPU_SOC_MSS", 9000, 400)),
        "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    }


PMIC_TEXT = """\
     3V7_WL_SW_A current(0)=0.08977200A
       3V3_SYS_A current(1)=0.09953100A
      VDD_CORE_A current(7)=1.27234000A
     3V7_WL_SW_V volt(8)=3.71740600V
       3V3_SYS_V volt(9)=3.31145400V
      VDD_CORE_V volt(15)=0.74996930V
         EXT5V_V volt(24)=5.13970000V
          BATT_V volt(25)=0.00000000V
"""
PMIC_WATTS = 0.089772 * 3.717406 + 0.099531 * 3.311454 + 1.27234 * 0.7499693


def pi_5() -> Tree:
    return {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}


def vcgencmd(board: Board, script: str) -> None:
    """What stands in the place of the command."""
    path = board.root / "usr/bin/vcgencmd"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def pi_4() -> Tree:
    return {
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    }


def laptop() -> Tree:
    first, second = "sys/class/power_supply/BAT0", "sys/class/power_supply/BAT1"
    mouse = "sys/class/power_supply/hidpp_battery_0"
    return {
        f"{first}/type": "Battery\n",
        f"{first}/status": "Discharging\n",
        f"{first}/power_now": "6500000\n",
        f"{second}/type": "Battery\n",
        f"{second}/status": "Discharging\n",
        f"{second}/current_now": "-250000\n",
        f"{second}/voltage_now": "12000000\n",
        f"{mouse}/type": "Battery\n",
        f"{mouse}/scope": "Device\n",
        f"{mouse}/status": "Discharging\n",
        f"{mouse}/power_now": "9000000\n",
        "sys/class/power_supply/AC/type": "Mains\n",
        "sys/class/power_supply/AC/online": "0\n",
    }


def hwmon_machine() -> Tree:
    folder = "sys/class/hwmon"
    return {
        f"{folder}/hwmon0/name": "power_meter\n",
        f"{folder}/hwmon0/power1_average": "42000000\n",
        f"{folder}/hwmon1/name": "amdgpu\n",
        f"{folder}/hwmon1/power1_label": "PPT\n",
        f"{folder}/hwmon1/power1_average": "1000000\n",
        f"{folder}/hwmon1/power1_input": "9000000\n",
        f"{folder}/hwmon2/name": "amd_energy\n",
        f"{folder}/hwmon2/energy1_label": "Esocket0\n",
        f"{folder}/hwmon2/energy1_input": "500000000\n",
        f"{folder}/hwmon3/name": "coretemp\n",
        f"{folder}/hwmon3/temp1_input": "50000\n",
    }


def dtpm_board() -> Tree:
    return {
        f"{POWERCAP}/dtpm:0/name": "rk3399\n",
        f"{POWERCAP}/dtpm:0/power_uw": "1200000\n",
        f"{POWERCAP}/dtpm:0:0/name": "package\n",
        f"{POWERCAP}/dtpm:0:0/power_uw": "1200000\n",
        f"{POWERCAP}/dtpm:0:0:0/name": "cpu0-cpufreq\n",
        f"{POWERCAP}/dtpm:0:0:0/power_uw": "200000\n",
    }
