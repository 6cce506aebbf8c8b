"""BOAT's own operators: matmul, conv2d, pooling, cross-entropy, softmax, activations, differentiable to every order.

Each is a Jittor operator in C++ (`sources/`, one file for each family, CPU and CUDA from the same text). Its gradient
is made of such operators again, so a derivative of any order is exact and takes a few library calls. In Jittor a second
derivative of a matrix product falls apart into generated loops: it adds the cotangents of shared broadcasts before they
are reduced, and the pattern of a product is lost. Jittor's max pooling has no second derivative at all.

`overrides` says which of Jittor's functions they stand in for; `library` compiles and loads them.
"""
