"""One module a paper: its names, studies, tables and drawings."""
