"""For authors of packs: `boat ops new` writes a pack, `boat ops check` checks one. There are no public names."""

__all__: list[str] = []
