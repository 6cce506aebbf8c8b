"""An operation pack as a third party publishes it: it uses nothing of the core but its public names."""
