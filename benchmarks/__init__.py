"""Programs that print the numbers that the documents state; each prints a table and writes JSON."""
