"""Profiles of devices: read, written, refused, and what they do to a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.plan.device_profile import (
    DeviceProfile,
    load_device_profile,
    profile_names,
    save_device_profile,
)
from edgeinfer.convert.plan.step_cost import StepCosts
from edgeinfer.errors import InputError

SMALL_CACHE = DeviceProfile("small", StepCosts(cache_bytes=512, step_ns=1, memory_ns=50))


def test_profiles_that_come_along_can_be_read() -> None:
    assert "zen1" in profile_names()
    for name in profile_names():
        assert load_device_profile(name).name == name
    assert load_device_profile(None).costs == load_device_profile("zen1").costs == StepCosts()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    profile = DeviceProfile("mine", StepCosts(0.5, 1.5, 100, 0, 0.25, 4096), "a board", "today")
    save_device_profile(profile, tmp_path / "mine.json")
    assert load_device_profile(tmp_path / "mine.json") == profile
    data = json.loads((tmp_path / "mine.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps({**data, "energy": {"idle_watts": 2}}))
    assert load_device_profile(str(tmp_path / "mine.json")) == profile


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("step_costs"), 'has no object "step_costs"'),
        (lambda data: data["step_costs"].pop("mac_ns"), "must have mac_ns, byte_ns"),
        (lambda data: data["step_costs"].update(other=1), "must have mac_ns, byte_ns"),
        (lambda data: data["step_costs"].update(mac_ns=-1), "mac_ns is -1, must be a number"),
        (lambda data: data["step_costs"].update(step_ns="9"), "step_ns is '9', must be a number"),
        (lambda data: data["step_costs"].update(byte_ns=float("nan")), "byte_ns is nan"),
        (lambda data: data["step_costs"].update(cache_bytes=True), "cache_bytes is True"),
    ],
)
def test_files_that_are_no_profiles_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "p.json"
    save_device_profile(SMALL_CACHE, path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        load_device_profile(path)


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no device profile 'zen9': neither one of zen1"):
        load_device_profile("zen9")
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(InputError, match=r"p\.json is no device profile: "):
        load_device_profile(tmp_path / "p.json")


def test_a_plan_is_chosen_by_the_profile(
    tmp_path: Path, digits_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = digits_dir / "digits_int8.onnx"
    typical = convert(source).plans[0]
    banded = convert(source, device_profile=SMALL_CACHE).plans[0]
    assert len(banded.steps) > len(typical.steps)
    save_device_profile(SMALL_CACHE, tmp_path / "small.json")
    out = tmp_path / "m.edge"
    given = ["--device-profile", str(tmp_path / "small.json")]
    assert main(["convert", str(source), "-o", str(out), "--json", *given]) == 0
    assert json.loads(capsys.readouterr().out)["arena_bytes"] == banded.arena_bytes
    assert main(["plan", str(source), "--pareto", "--json", *given]) == 0
    shown = json.loads(capsys.readouterr().out)["programs"][0]
    assert shown["arena_bytes"] == banded.arena_bytes
    assert main(["plan", str(out), *given]) != 0
    assert "give --device-profile to convert" in capsys.readouterr().err
    assert main(["convert", str(source), "--device-profile", "zen9"]) != 0
    assert "no device profile 'zen9'" in capsys.readouterr().err
