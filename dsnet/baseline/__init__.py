"""What a user would choose instead of a network: grading bone by its Hounsfield units."""
