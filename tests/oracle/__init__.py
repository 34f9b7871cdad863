"""The arithmetic of every operator in NumPy: what all kernels and engines are held against.

Each module has two kinds of functions, kept apart: those that compute parameters (multipliers,
tables) from scales and zero points, and those that compute on arrays with these parameters.
`docs/internals/numerics.md` says where each formula comes from and what it was measured against.
"""
