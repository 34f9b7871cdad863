"""The steps of a plan along an axis: operators that take turns by bands of rows are one group.

A plan by bands has hundreds of steps for each chain of operators. With a column for each step the
chains would take nearly all of the picture, so there are two scales: one gives each operator the
same width, whatever its number of steps, and one gives it to each step.

A group is the smallest run of steps outside of which none of its operators runs. Within a group
both scales are linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeinfer.convert.model_file import FileProgram


@dataclass(frozen=True)
class StepGroup:
    """Steps `first_step` to `last_step`, and the operators that take turns in them."""

    first_step: int
    last_step: int
    nodes: tuple[int, ...]  # in the order of their first steps

    @property
    def steps(self) -> int:
        """How many."""
        return self.last_step - self.first_step + 1


@dataclass(frozen=True)
class NodeSpan:
    """The steps of one operator, and the lane that no other operator has meanwhile."""

    node: int
    steps: tuple[int, ...]
    lane: int


def step_groups(program: FileProgram) -> list[StepGroup]:
    """The groups, in order of time."""
    last = {step.node: index for index, step in enumerate(program.steps)}
    groups = []
    first, end, nodes = 0, -1, dict[int, None]()
    for index, step in enumerate(program.steps):
        nodes[step.node] = None
        end = max(end, last[step.node])
        if index == end:
            groups.append(StepGroup(first, end, tuple(nodes)))
            first, nodes = index + 1, {}
    return groups


def node_spans(program: FileProgram) -> list[NodeSpan]:
    """When each operator runs; operators whose spans overlap are in different lanes."""
    steps: dict[int, list[int]] = {}
    for index, step in enumerate(program.steps):
        steps.setdefault(step.node, []).append(index)
    spans: list[NodeSpan] = []
    free_from: list[int] = []  # the step from which each lane is free
    for node, own in steps.items():
        lane = next((i for i, free in enumerate(free_from) if free <= own[0]), len(free_from))
        if lane == len(free_from):
            free_from.append(0)
        free_from[lane] = own[-1] + 1
        spans.append(NodeSpan(node, tuple(own), lane))
    return spans


class Timeline:
    """Where the beginning of a step lies, from 0 to 1, on both scales."""

    def __init__(self, groups: Sequence[StepGroup]) -> None:
        self.groups = tuple(groups)
        self.columns = sum(len(group.nodes) for group in groups)
        self.steps = groups[-1].last_step + 1
        self._by_operator: list[float] = []
        column = 0
        for group in groups:
            width = len(group.nodes) / group.steps
            self._by_operator += [(column + i * width) / self.columns for i in range(group.steps)]
            column += len(group.nodes)
        self._by_operator.append(1.0)

    def by_operator(self, step: int) -> float:
        """With a column for each operator."""
        return self._by_operator[step]

    def by_step(self, step: int) -> float:
        """With a column for each step."""
        return step / self.steps
