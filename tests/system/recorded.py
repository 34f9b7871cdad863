"""What /proc and /sys of some machines look like, as far as edgeinfer reads them.

Written after boards' documentation and published listings: nothing here was copied off a device.
"""

from __future__ import annotations

from pathlib import Path

Tree = dict[str, str]

CPU = "sys/devices/system/cpu"


def cpufreq(
    number: int,
    cpus: str,
    *,
    now: int,
    low: int,
    high: int,
    governor: str,
    driver: str,
    limit: int | None = None,
    **more: str,
) -> Tree:
    """A policy; frequencies in MHz."""
    facts = {
        "affected_cpus": cpus,
        "related_cpus": cpus,
        "scaling_cur_freq": f"{now}000",
        "scaling_min_freq": f"{low}000",
        "scaling_max_freq": f"{limit or high}000",
        "cpuinfo_min_freq": f"{low}000",
        "cpuinfo_max_freq": f"{high}000",
        "scaling_governor": governor,
        "scaling_driver": driver,
        **more,
    }
    return {f"{CPU}/cpufreq/policy{number}/{name}": f"{text}\n" for name, text in facts.items()}


def zone(number: int, name: str, millidegrees: int | str, *trips: tuple[str, int]) -> Tree:
    folder = f"sys/class/thermal/thermal_zone{number}"
    tree = {f"{folder}/type": f"{name}\n", f"{folder}/temp": f"{millidegrees}\n"}
    for index, (kind, limit) in enumerate(trips):
        tree[f"{folder}/trip_point_{index}_type"] = f"{kind}\n"
        tree[f"{folder}/trip_point_{index}_temp"] = f"{limit}\n"
    return tree


def cooling(number: int, name: str, state: int, most: int) -> Tree:
    folder = f"sys/class/thermal/cooling_device{number}"
    facts = {"type": name, "cur_state": state, "max_state": most}
    return {f"{folder}/{key}": f"{value}\n" for key, value in facts.items()}


def arm_cpuinfo(*parts: tuple[int, int], implementer: int = 0x41) -> Tree:
    """Blocks of `count` CPUs with a part number each."""
    text, cpu = "", 0
    for part, count in parts:
        for _ in range(count):
            text += f"processor\t: {cpu}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd crc32\n"
            text += f"CPU implementer\t: 0x{implementer:02x}\nCPU architecture: 8\n"
            text += f"CPU variant\t: 0x0\nCPU part\t: 0x{part:x}\nCPU revision\t: 3\n\n"
            cpu += 1
    return {"proc/cpuinfo": text, **present(cpu)}


def x86_cpuinfo(model: str, count: int) -> Tree:
    blocks = (
        f"processor\t: {i}\nvendor_id\t: GenuineIntel\nmodel name\t: {model}\n"
        for i in range(count)
    )
    return {"proc/cpuinfo": "\n".join(blocks), **present(count)}


def present(count: int, online: str | None = None) -> Tree:
    every = f"0-{count - 1}\n"
    folders = {f"{CPU}/cpu{i}/uevent": "\n" for i in range(count)}
    return {f"{CPU}/present": every, f"{CPU}/online": online or every, **folders}


def siblings(*lists: str) -> Tree:
    """Cores of several threads, by their CPUs."""
    tree = {}
    for text in lists:
        first, _, last = text.partition("-")
        for cpu in range(int(first), int(last or first) + 1):
            tree[f"{CPU}/cpu{cpu}/topology/core_cpus_list"] = f"{text}\n"
    return tree


def throttle_counts(cpus: int, core: int, package: int) -> Tree:
    tree = {}
    for cpu in range(cpus):
        folder = f"{CPU}/cpu{cpu}"
        tree[f"{folder}/topology/package_cpus_list"] = f"0-{cpus - 1}\n"
        tree[f"{folder}/thermal_throttle/core_throttle_count"] = f"{core if cpu == 0 else 0}\n"
        tree[f"{folder}/thermal_throttle/package_throttle_count"] = f"{package}\n"
    return tree


def pi_4() -> Tree:
    return {
        **arm_cpuinfo((0xD08, 4)),
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
        **cpufreq(0, "0 1 2 3", now=1800, low=600, high=1800, governor="ondemand",
                  driver="cpufreq-dt"),
        **zone(0, "cpu-thermal", 51121, ("critical", 110000)),
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon0/temp1_input": "51121\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
    }  # fmt: skip


def pi_5() -> Tree:
    midr = {f"{CPU}/cpu{i}/regs/identification/midr_el1": "0x00000000414fd0b1\n" for i in range(4)}
    active = (("active", 50000), ("active", 60000), ("active", 67500), ("active", 75000))
    return {
        **arm_cpuinfo((0xD0B, 4)),
        **midr,
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        **cpufreq(0, "0 1 2 3", now=1500, low=1500, high=2400, governor="ondemand",
                  driver="cpufreq-dt"),
        **zone(0, "cpu-thermal", 48250, ("critical", 110000), *active),
        **cooling(0, "pwm-fan", 1, 4),
    }  # fmt: skip


def jetson_orin() -> Tree:
    """An AGX Orin in a 30 W mode: one cluster switched off, the others limited."""
    soctherm = {"name": "soctherm_oc", "oc1_event_cnt": 0, "oc2_event_cnt": 0, "oc3_event_cnt": 7}
    tree = {
        **arm_cpuinfo((0xD42, 8)),
        **present(12, "0-7\n"),
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        **zone(0, "cpu-thermal", 50656, ("passive", 99000), ("critical", 104500)),
        **zone(1, "gpu-thermal", -256000, ("passive", 99000)),  # switched off
        **zone(2, "cv0-thermal", "", ("passive", 99000)),  # reading it fails
        **zone(8, "tj-thermal", 50656, ("active", 51000), ("critical", 104500)),
        **cooling(0, "cpufreq-cpu0", 0, 20),
        **cooling(1, "cpu-throttle-alert", 0, 2),
        **cooling(2, "pwm-fan", 2, 10),
        **cooling(3, "devfreq-17000000.gpu", 3, 11),
        **{f"sys/class/hwmon/hwmon3/{key}": f"{value}\n" for key, value in soctherm.items()},
    }
    for first in (0, 4):
        cpus = " ".join(map(str, range(first, first + 4)))
        tree |= cpufreq(first, cpus, now=1728, low=115, high=2201, limit=1728,
                        governor="schedutil", driver="tegra194")  # fmt: skip
    return tree


def rk3588() -> Tree:
    """Four Cortex-A55 and two pairs of Cortex-A76, with a governor that has two passive trips."""
    capacities = {f"{CPU}/cpu{i}/cpu_capacity": "530\n" for i in range(4)}
    capacities |= {f"{CPU}/cpu{i}/cpu_capacity": "1024\n" for i in range(4, 8)}
    return {
        **arm_cpuinfo((0xD05, 4), (0xD0B, 4)),
        **capacities,
        "proc/device-tree/model": "Radxa ROCK 5B\0",
        **cpufreq(0, "0 1 2 3", now=1800, low=408, high=1800, governor="schedutil",
                  driver="cpufreq-dt"),
        **cpufreq(4, "4 5", now=2400, low=408, high=2400, governor="schedutil",
                  driver="cpufreq-dt"),
        **cpufreq(6, "6 7", now=2208, low=408, high=2400, governor="schedutil",
                  driver="cpufreq-dt"),
        **zone(0, "soc-thermal", 78000, ("passive", 75000), ("passive", 85000),
               ("critical", 115000)),
        **cooling(0, "thermal-cpufreq-0", 0, 9),
    }  # fmt: skip


def n100() -> Tree:
    """A box with an N100: four small cores, one kind."""
    policies: Tree = {}
    for cpu in range(4):
        policies |= cpufreq(cpu, str(cpu), now=2900, low=700, high=3400, governor="powersave",
                            driver="intel_pstate", base_frequency="800000",
                            energy_performance_preference="balance_performance")  # fmt: skip
    return {
        **x86_cpuinfo("Intel(R) N100", 4),
        **policies,
        f"{CPU}/intel_pstate/no_turbo": "0\n",
        **zone(0, "acpitz", 27800, ("critical", 110000), ("passive", 105000)),
        **zone(1, "x86_pkg_temp", 56000, ("passive", 0), ("passive", -274000)),
        **cooling(0, "Processor", 0, 3),
        **cooling(4, "intel_powerclamp", -1, 100),
        **cooling(5, "TCC Offset", 10, 63),
        "sys/class/hwmon/hwmon2/name": "coretemp\n",
        "sys/class/hwmon/hwmon2/temp1_label": "Package id 0\n",
        "sys/class/hwmon/hwmon2/temp1_input": "56000\n",
        "sys/class/hwmon/hwmon2/temp1_crit": "105000\n",
        "sys/class/hwmon/hwmon2/temp6_label": "Core 4\n",
        "sys/class/hwmon/hwmon2/temp6_input": "55000\n",
        **throttle_counts(4, core=3, package=5),
    }


def alder_lake() -> Tree:
    """A Core i5-1240P: four performance cores of two threads, eight efficiency cores."""
    policies: Tree = {}
    for cpu in range(16):
        fast = cpu < 8
        policies |= cpufreq(cpu, str(cpu), now=2500 if fast else 1800, low=400,
                            high=4400 if fast else 3300, governor="powersave",
                            driver="intel_pstate",
                            base_frequency="1700000" if fast else "1200000",
                            energy_performance_preference="performance")  # fmt: skip
    return {
        **x86_cpuinfo("12th Gen Intel(R) Core(TM) i5-1240P", 16),
        "sys/devices/cpu_core/cpus": "0-7\n",
        "sys/devices/cpu_atom/cpus": "8-15\n",
        **siblings("0-1", "2-3", "4-5", "6-7", *map(str, range(8, 16))),
        **policies,
        f"{CPU}/intel_pstate/no_turbo": "1\n",
        **zone(0, "x86_pkg_temp", 61000),
        **throttle_counts(16, core=0, package=0),
    }


def virtual_machine() -> Tree:
    return x86_cpuinfo("Intel(R) Xeon(R) Processor @ 2.60GHz", 2)


MACHINES = {
    "pi_4": pi_4,
    "pi_5": pi_5,
    "jetson_orin": jetson_orin,
    "rk3588": rk3588,
    "n100": n100,
    "alder_lake": alder_lake,
    "virtual_machine": virtual_machine,
    "nothing": dict,
}


def write_tree(root: Path, tree: Tree) -> str:
    """Put the files below `root`; returns it as KernelFiles takes it."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)
