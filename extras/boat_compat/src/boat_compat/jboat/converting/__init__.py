"""`boat convert`: JBOAT's two JSON files as a configuration of BOAT's and a module with the problem."""
