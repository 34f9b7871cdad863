"""Operations of which the machine has exactly one result, as numba does not offer them by itself.

`fma` is LLVM's: one instruction where the CPU has it, else the C library's fmaf, which is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

F32 = np.float32
NAN_BITS = np.int32(0x7FC00000)


def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float32, rounded once."""
    real = types.float32
    if (a, b, c) != (real, real, real):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        f32 = ir.FloatType()
        function = builder.module.declare_intrinsic(
            "llvm.fma", [f32], ir.FunctionType(f32, [f32, f32, f32])
        )
        return builder.call(function, arguments)

    return real(real, real, real), generate


fma: Any = intrinsic(_fma)


def _unary_intrinsic(name: str) -> Any:
    def function(typing_context: Any, x: Any) -> Any:
        if x not in (types.float32, types.float64):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            real = arguments[0].type
            called = builder.module.declare_intrinsic(name, [real], ir.FunctionType(real, [real]))
            return builder.call(called, arguments)

        return x(x), generate

    return intrinsic(function)


rint = _unary_intrinsic("llvm.rint")  # the nearest integer, of two the even one
floor = _unary_intrinsic("llvm.floor")
ceil = _unary_intrinsic("llvm.ceil")
absolute = _unary_intrinsic("llvm.fabs")
square_root = _unary_intrinsic("llvm.sqrt")


def _bitcast(source: Any, target: Any) -> Any:
    def function(typing_context: Any, x: Any) -> Any:
        if x != source:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(function)


bits_of = _bitcast(types.float32, types.int32)
from_bits = _bitcast(types.int32, types.float32)
bits_of_double = _bitcast(types.float64, types.int64)
double_from_bits = _bitcast(types.int64, types.float64)
