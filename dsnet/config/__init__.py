"""The configuration, as types: each key's default, range, unit and meaning.

One module for each group of sections, so that a step depends on its own sections alone: a new key
of another one changes nothing that it runs. Defaults are the paper's settings. Nothing heavy is
imported: the workflow reads the config whenever it loads.
"""
