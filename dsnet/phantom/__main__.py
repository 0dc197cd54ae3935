"""Make the built-in phantom cohort."""

from dsnet.phantom.cohort import make_phantom
from dsnet.step import run

if __name__ == "__main__":
    run(make_phantom)
