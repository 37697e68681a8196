"""Programs that print the numbers README states; each prints a table and writes JSON."""
