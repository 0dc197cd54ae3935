"""What people read: the flow diagram, the report's one page, and the reporting checklist."""
