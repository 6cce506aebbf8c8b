"""`boat report`: one HTML file that shows one run, or compares several. It is made of the files of the runs alone."""
