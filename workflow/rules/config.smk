"""The config: the demo's, and a user's own above it."""

import sys

from dsnet import errors
from dsnet.config.load import DEMO, LOCAL, check_yaml, config_files
from dsnet.errors import UserError


def checked(function, *arguments):
    """Call `function`; an error that the user can mend stops the workflow in one sentence."""
    try:
        return function(*arguments)
    except UserError as error:
        more = [errors.CHECK] if error.where == "cohort folder" else []
        sys.exit("\n".join([f"dsnet: {error}", *more]))


for path in config_files():
    if path.exists():  # a module has its config from the workflow that uses it
        checked(check_yaml, path)


configfile: "config/config.yaml"


if LOCAL.exists():

    configfile: "config/local.yaml"
