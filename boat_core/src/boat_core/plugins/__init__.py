"""The plugin host: hooks, discovery of packs, the catalogue of what is installed, and the grammar of chains."""
