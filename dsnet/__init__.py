"""From lumbar-spine CT, DXA and annotations to detectors and tables that can be trusted."""

__version__ = "0.1.0"
