"""Declarations: what operations, options, optimizers, problems and observers say about themselves."""
