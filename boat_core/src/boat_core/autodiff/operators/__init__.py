"""Operators of our own that differentiate to every order: matmul, conv2d, pooling, cross-entropy, softmax, activations.

Each is a Jittor operator in C++ (`sources/`, one file a family, CPU and CUDA from one text) whose gradient is made of
such operators again. So every order of derivative stays a few library calls, exact, where Jittor's own products fall
apart into generated loops (a second derivative adds the cotangents of shared broadcasts before they are reduced, and
the pattern of a matrix product is lost) and Jittor's max pooling has no second derivative at all.

`overrides` says which of Jittor's functions they stand in for; `library` compiles and loads them.
"""
