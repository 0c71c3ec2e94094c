"""The command line: `tacita --help`."""
