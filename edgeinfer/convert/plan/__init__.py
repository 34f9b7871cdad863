"""Where every value lies and in which order operators run, decided before a device exists."""

from __future__ import annotations

from edgeinfer.convert.plan.planner import OPTIMIZE, plan_curve, plan_program, session_bytes

__all__ = ["OPTIMIZE", "plan_curve", "plan_program", "session_bytes"]
