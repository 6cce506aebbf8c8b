"""Derivatives of scalar functions of pytrees; the only room that knows Jittor's corners."""
