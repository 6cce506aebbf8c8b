"""JBOAT's interfaces (`jboat`), BOML's methods (`boml`) and few-shot data (`few_shot`), on BOAT's solvers."""
