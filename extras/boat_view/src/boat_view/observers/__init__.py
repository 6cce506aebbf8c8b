"""Observers of runs, each with the library that it writes for. The library is imported when the observer is built."""
