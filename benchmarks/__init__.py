"""Side-by-side measurements; each prints a table and writes JSON. Not part of the package."""
