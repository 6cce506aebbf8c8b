"""Three ways to differentiate the result of an algorithm.

They go through its steps (`explicit`), through a condition that its solution satisfies (`implicit`), or through the
values of a function alone (`zero_order`).
"""
