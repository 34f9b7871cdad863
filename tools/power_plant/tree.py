"""The files in which a simulated board shows itself: what the real meters and readers read.

The layouts are those that `edgeinfer/power` documents: INA3221 under the I2C driver, RAPL under
powercap, a vcgencmd below the root that prints what the firmware would. Values get the sensor's
noise, delay and steps.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from tools.power_plant.plant import Plant

_ZONE = "sys/class/thermal/thermal_zone0"
_INA = "sys/bus/i2c/drivers/ina3221/1-0040"
_RAPL = "sys/class/powercap/intel-rapl:0"
_POLICY = "sys/devices/system/cpu/cpufreq/policy0"
_RAPL_STEP = 2.0**-14
_RAPL_RANGE = 262_143_328_850
_SHUNT_MILLIAMPERES = 8  # 40 µV over 5 mOhm
_PMIC = "firmware/pmic_read_adc"

# Rails of a Pi 5, volts, and about what part of the power each carries.
_RAILS = (("3V7_WL_SW", 3.7, 0.05), ("3V3_SYS", 3.3, 0.10), ("1V8_SYS", 1.8, 0.08),
          ("DDR_VDD2", 1.1, 0.12), ("VDD_CORE", 0.85, 0.65))  # fmt: skip


class BoardTree:
    """Writes a board's files below a root, and reads back what governors write there.

    Parameters
    ----------
    plant : Plant
    root : Path
    seed : int
        Of the sensor's noise.
    gain : float
        What the sensor shows, as a multiple of the truth.
    """

    def __init__(self, plant: Plant, root: Path, seed: int, gain: float = 1.0) -> None:
        self._plant = plant
        self._root = str(root)
        self._dice = random.Random(seed ^ 0x5EED)
        self._gain = gain
        self._write_fixed()
        self.show()

    def show(self) -> None:
        """Write what the sensors show now."""
        plant = self._plant
        kind = plant.board.sensor.kind
        self._write(f"{_ZONE}/temp", f"{round(plant.celsius) * 1000}")
        if kind == "rapl":
            shown = plant.joules_at(plant.now - plant.board.sensor.delay) + 1000.0
            steps = int(self._gain * shown / _RAPL_STEP)
            self._write(f"{_RAPL}/energy_uj", f"{int(steps * _RAPL_STEP * 1e6) % _RAPL_RANGE}")
        elif kind == "ina3221":
            watts = self._noisy(plant.watts_shown())
            self._show_rail(1, watts)
            self._show_rail(2, 0.5 * watts)
        elif kind == "pmic":
            watts = plant.watts_shown()
            lines = []
            for number, (rail, volts, share) in enumerate(_RAILS):
                amperes = self._noisy(watts * share) / volts
                lines.append(f"{rail}_A current({number})={amperes:.8f}A")
                lines.append(f"{rail}_V volt({number + 8})={volts:.8f}V")
            lines.append("EXT5V_V volt(24)=5.10000000V")
            self._write(_PMIC, "\n".join(lines))

    def read_limits(self) -> None:
        """Let the plant follow what was written into scaling_max_freq."""
        with open(f"{self._root}/{_POLICY}/scaling_max_freq") as file:
            self._plant.limit_khz = int(file.read())

    def _show_rail(self, channel: int, watts: float) -> None:
        volts = 5.0
        step = _SHUNT_MILLIAMPERES
        milliamperes = round(1000 * watts / volts / step) * step
        folder = f"{_INA}/hwmon/hwmon3"
        self._write(f"{folder}/in{channel}_input", f"{volts * 1000:.0f}")
        self._write(f"{folder}/curr{channel}_input", f"{milliamperes}")

    def _noisy(self, watts: float) -> float:
        return self._gain * watts * (1 + self._dice.gauss(0, self._plant.board.sensor.noise))

    def _write_fixed(self) -> None:
        board = self._plant.board
        files = {
            f"{_ZONE}/type": "cpu-thermal",
            f"{_ZONE}/trip_point_0_type": "passive",
            f"{_ZONE}/trip_point_0_temp": f"{board.trip_celsius * 1000:.0f}",
            f"{_POLICY}/affected_cpus": " ".join(map(str, range(board.cores))),
            f"{_POLICY}/cpuinfo_max_freq": f"{board.khz[-1]}",
            f"{_POLICY}/cpuinfo_min_freq": f"{board.khz[0]}",
            f"{_POLICY}/scaling_max_freq": f"{board.khz[-1]}",
            f"{_POLICY}/scaling_min_freq": f"{board.khz[0]}",
            f"{_POLICY}/scaling_available_frequencies": " ".join(map(str, board.khz)),
            "sys/devices/system/cpu/present": f"0-{board.cores - 1}",
        }
        if board.sensor.kind == "rapl":
            files[f"{_RAPL}/name"] = "package-0"
            files[f"{_RAPL}/max_energy_range_uj"] = f"{_RAPL_RANGE}"
            files["proc/cpuinfo"] = f"processor\t: 0\nmodel name\t: {board.model}"
        else:
            files["proc/device-tree/model"] = board.model
        if board.sensor.kind == "ina3221":
            for channel, label in enumerate(("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), 1):
                files[f"{_INA}/hwmon/hwmon3/in{channel}_label"] = label
                files[f"{_INA}/hwmon/hwmon3/shunt{channel}_resistor"] = "5000"
                files[f"{_INA}/hwmon/hwmon3/in{channel}_input"] = "5000"
                files[f"{_INA}/hwmon/hwmon3/curr{channel}_input"] = "160"
        for name, text in files.items():
            os.makedirs(os.path.dirname(f"{self._root}/{name}"), exist_ok=True)
            self._write(name, text)
        if board.sensor.kind == "pmic":
            os.makedirs(f"{self._root}/firmware", exist_ok=True)
            command = Path(self._root, "usr/bin/vcgencmd")
            command.parent.mkdir(parents=True)
            command.write_text(
                f"#!/bin/sh\nwhile IFS= read -r line; do "
                f'echo "$line"; done < {self._root}/{_PMIC}\n'
            )
            command.chmod(0o755)

    def _write(self, name: str, text: str) -> None:
        with open(f"{self._root}/{name}", "w") as file:
            file.write(text + "\n")
