"""What is known of a device before a model has run on it: a JSON file for each.

    {
      "name": "zen1",
      "device": "AMD EPYC (Zen 1), tier avx2, one core",
      "measured": "how and when",
      "step_costs": {"mac_ns": 0.035, "byte_ns": 0.87, ...}
    }

`step_costs` are the constants of `StepCosts`, all of them. Those that come with edgeinfer are in
`device_profiles/`; `tools/plan_times.py --fit --out FILE` measures the machine that it runs on.
Other parts of a profile are left to who knows them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.convert.plan.step_cost import PROFILES, TYPICAL_DEVICE, StepCosts
from edgeinfer.errors import InputError


@dataclass(frozen=True)
class DeviceProfile:
    """One device. `device` and `measured` are for people."""

    name: str
    costs: StepCosts
    device: str = ""
    measured: str = ""


DeviceProfileSource = str | os.PathLike[str] | DeviceProfile
"""The name of a profile that comes with edgeinfer, the path of a file, or a profile."""


def profile_names() -> list[str]:
    """The profiles that come with edgeinfer."""
    return sorted(path.stem for path in PROFILES.glob("*.json"))


def load_device_profile(source: DeviceProfileSource | None) -> DeviceProfile:
    """The profile that is meant; None is that of a typical device.

    Raises
    ------
    InputError
        There is no such profile or file, or the file is none.
    """
    if isinstance(source, DeviceProfile):
        return source
    name = TYPICAL_DEVICE if source is None else os.fspath(source)
    known = PROFILES / f"{name}.json"
    path = known if name in profile_names() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"no device profile {name!r}: neither one of {', '.join(profile_names())} nor a file "
            f"that can be read ({error.strerror})"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no device profile: {error}") from error
    return _decoded(text, path)


def save_device_profile(profile: DeviceProfile, path: str | os.PathLike[str]) -> None:
    """Write a profile as a file that `load_device_profile` reads."""
    data = {
        "name": profile.name,
        "device": profile.device,
        "measured": profile.measured,
        "step_costs": dataclasses.asdict(profile.costs),
    }
    Path(path).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _decoded(text: str, path: Path) -> DeviceProfile:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no device profile: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("step_costs"), dict):
        raise InputError(f'{path} is no device profile: it has no object "step_costs"')
    costs = data["step_costs"]
    wanted = [field.name for field in dataclasses.fields(StepCosts)]
    if sorted(costs) != sorted(wanted):
        raise InputError(
            f"{path}: step_costs has {', '.join(sorted(costs)) or 'nothing'}, must have "
            f"{', '.join(wanted)}"
        )
    numbers = {name: _number(costs[name], name, path) for name in wanted}
    numbers["cache_bytes"] = int(numbers["cache_bytes"])
    described = {key: str(data.get(key, "")) for key in ("device", "measured")}
    return DeviceProfile(str(data.get("name", path.stem)), StepCosts(**numbers), **described)


def _number(value: Any, name: str, path: Path) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise InputError(f"{path}: {name} is {value!r}, must be a number of at least 0")
    return value
