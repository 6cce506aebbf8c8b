"""What can be said of packs: where they get in each other's way, what is amiss in one, how its operations behave."""
