"""For authors: `boat init` writes a problem, `boat ops new` a pack, and `boat ops check` checks one.

There are no public names.
"""

__all__: list[str] = []
