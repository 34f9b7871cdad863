"""Models without samples: tables of four bits, and a budget that layers and tables share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.convert import convert
from edgeinfer.convert.graph import Graph
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.convert.quantize.search_block_scales import search_block_scales
from edgeinfer.convert.quantize.synthetic_inputs import synthetic_inputs
from edgeinfer.convert.read import read_model
from edgeinfer.errors import BudgetError, InputError
from tests.convert.graphs import GraphBuilder

SCHEMES: list[Any] = ["mxfp4", "nvfp4"]
WORDS, WIDTH = 600, 64
LENGTHS = (3, 6)


def weights_of() -> dict[str, np.ndarray]:
    """Of a table and two products, the second of which has a large value in each block."""
    rng = np.random.default_rng(3)
    made = {
        "table": rng.normal(size=(WORDS, WIDTH)),
        "w0": rng.normal(size=(WIDTH, WIDTH)) / 8,
        "w1": rng.normal(size=(WIDTH, WIDTH)) / 8,
    }
    made["w1"][::16] *= 40
    return {name: values.astype(np.float32) for name, values in made.items()}


def encoder(tied: bool = False) -> bytes:
    """ids [1, s] -> rows of a table -> MatMul, Relu -> MatMul; or tied: the table again."""
    weights = weights_of()
    last = ["table_transposed", "logits"] if tied else ["w1", "y"]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "w0"], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        *([helper.make_node("Transpose", ["table"], ["table_transposed"])] if tied else []),
        helper.make_node("MatMul", ["r", last[0]], [last[1]]),
    ]
    out = WORDS if tied else WIDTH
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "encoder",
        [make("ids", TensorProto.INT64, [1, "s"])],
        [make(last[1], TensorProto.FLOAT, [1, "s", out])],
        [numpy_helper.from_array(w, n) for n, w in weights.items() if not (tied and n == "w1")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


def programs(**options: Any) -> tuple[FileProgram, ...]:
    return read_model(convert(encoder(), sequence_lengths=LENGTHS, **options).data).programs


def schemes(program: FileProgram) -> dict[str, str]:
    """How the table and the two products are stored."""
    found = {}
    products = iter(("w0", "w1"))
    for node in program.nodes:
        if node.operator in ("embedding", "gather") and "table" not in found:
            found["table"] = node.inputs[0].scheme or "int8" if node.inputs[0] else ""
        if node.operator == "fully_connected_dynamic" and node.inputs[1] is not None:
            found[next(products)] = node.inputs[1].scheme or "int8"
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_of_a_table_are_the_values_of_its_blocks(scheme: Any) -> None:
    builder = GraphBuilder()
    table = np.random.default_rng(0).normal(size=(500, 70)).astype(np.float32)
    ids = builder.input((2, 5), None, dtype="int64")
    rows = builder.node("gather", [builder.constant(table), ids], (2, 5, 70), None, axis=0)
    converted = convert(builder.build(rows), weights=scheme, four_bit_tables=True)
    (program,) = read_model(converted.data).programs
    assert [node.operator for node in program.nodes] == ["embedding"]
    asked = np.array([[0, 499, -500, -1, 7], [1, 1, 2, 3, 4]])
    with edgeinfer.load(converted.data) as model:
        found = model.run(asked)
    expected = search_block_scales(table, scheme).values()
    np.testing.assert_array_equal(np.asarray(found), expected[asked])


def test_a_table_that_is_a_products_weights_too_is_stored_once() -> None:
    options: Any = {"shapes": {"ids": (1, 4)}, "weights": "mxfp4"}
    converted = convert(encoder(tied=True), four_bit_tables=True, **options)
    (program,) = read_model(converted.data).programs
    first, last = program.nodes[0], program.nodes[-1]
    assert (first.operator, last.operator) == ("embedding", "fully_connected_dynamic")
    assert first.inputs[0] is not None and last.inputs[1] is not None
    assert first.inputs[0].offset == last.inputs[1].offset
    assert first.inputs[0].nbytes == last.inputs[1].nbytes
    least = program.weights_bytes
    convert(encoder(tied=True), weights_budget=least, **options)
    with pytest.raises(BudgetError, match=f"at least {least:,} bytes"):
        convert(encoder(tied=True), weights_budget=least - 1, **options)


def test_a_budget_is_kept_by_all_lengths_and_spent_where_it_helps_most() -> None:
    small = programs(weights="mxfp4", four_bit_tables=True)
    assert schemes(programs(weights="mxfp4")[0])["table"] == "int8"
    assert schemes(small[0]) == dict.fromkeys(("table", "w0", "w1"), "mxfp4")
    least = small[0].weights_bytes
    gained = WIDTH * WIDTH - WIDTH // 16 * (2 * 4 * 64 + 64)
    mixed = programs(weights="mxfp4", weights_budget=least + gained + 64)
    for program in mixed:
        assert schemes(program) == {"table": "mxfp4", "w0": "mxfp4", "w1": "int8"}
        assert program.weights_bytes == least + gained
    whole = programs(weights="mxfp4", weights_budget="1MiB")
    assert schemes(whole[0]) == dict.fromkeys(("table", "w0", "w1"), "int8")
    most = whole[0].weights_bytes
    between = programs(weights="mxfp4", weights_budget=most - 1)
    assert least < between[0].weights_bytes < most
    with pytest.raises(BudgetError, match=f"at least {least:,} bytes.* is {least - 1:,} bytes"):
        programs(weights="mxfp4", weights_budget=least - 1)


def test_names_and_budgets_are_said_in_the_file(tmp_path: Any, capsys: Any) -> None:
    source, target = tmp_path / "m.onnx", tmp_path / "m.edge"
    source.write_bytes(encoder())
    words = ["convert", str(source), "-o", str(target), "--sequence-lengths", "4"]
    assert main([*words, "--weights", "nvfp4", "--four-bit-tables", "--int8", "x"]) == 0
    metadata = read_model(target.read_bytes()).metadata
    assert metadata["weights"] == {
        "scheme": "nvfp4", "tables": "nvfp4", "int8": {"x": "asked for"},
    }  # fmt: skip
    capsys.readouterr()
    assert main(["inspect", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "nvfp4" in shown and f"int8 {WORDS * WIDTH:,}" in shown
    assert main([*words, "--weights-budget", "1KiB"]) == 4
    assert "weights_budget is 1,024 bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"int8": ["x"]}, "int8: layers are int8 beside weights of four bits"),
        ({"four_bit_tables": True}, "four_bit_tables: tables are beside"),
        ({"int8": ["nothing"], "weights": "mxfp4"}, "no layer that makes a tensor 'nothing'"),
        ({"weights_budget": "lots"}, "'lots' is not an amount"),
        ({"weights_budget": -5}, "cannot be negative"),
        ({"weights": "int4"}, "weights is 'int4'"),
        (
            {
                "four_bit_tables": True,
                "activations": "static",
                "sequence_lengths": (),
                "shapes": {"ids": (1, 6)},
                "calibration": np.zeros((40, 1, 6), np.int64),
            },
            "for models without static activations",
        ),
        (
            {
                "weights": "mxfp4",
                "weights_budget": "1MiB",
                "activations": "dynamic",
                "calibration": np.zeros((40, 1, 6), np.int64),
            },
            "with samples they are for static activations",
        ),
    ],
)
def test_what_cannot_be_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(encoder(), **{"sequence_lengths": LENGTHS, **options})


def test_made_up_indices_lie_in_every_table_that_they_index() -> None:
    builder = GraphBuilder()
    ids = builder.input((1, 50), None, dtype="int64")
    mask = builder.input((1, 50), None, dtype="int32")
    x = builder.input((1, 50, 4), None)
    moved = builder.node("reshape", [ids], (50,), None, dtype="int64")
    big = builder.constant(np.ones((90, 4), np.float32))
    small = builder.constant(np.ones((7, 4), np.float32))
    a = builder.node("gather", [big, ids], (1, 50, 4), None, axis=0)
    b = builder.node("gather", [small, moved], (50, 4), None, axis=0)
    graph: Graph = builder.build(a, b, builder.node("add", [x, a], (1, 50, 4), None))
    first, second = synthetic_inputs(graph, 2)
    assert set(first[ids.name].flat) == set(range(7))
    assert not np.array_equal(first[ids.name], second[ids.name])
    assert np.all(first[mask.name] == 1) and first[mask.name].dtype == np.int32
    assert abs(float(first[x.name].std()) - 1) < 0.2
