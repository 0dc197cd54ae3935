"""From a folder of files to one pseudonymous row per file."""
