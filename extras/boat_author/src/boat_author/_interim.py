"""INTERIM: the installed registry, until boat_core has a public name for it. Then this file goes."""

from boat_core.plugins.registry import registry as installed

__all__ = ["installed"]
