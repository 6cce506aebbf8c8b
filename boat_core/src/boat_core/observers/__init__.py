"""What watches a run: the record of its steps and the progress that a user sees. Packs add theirs by the same hooks."""
