"""How JBOAT's interfaces are carried out by BOAT's solvers. Scripts do not need these modules."""
