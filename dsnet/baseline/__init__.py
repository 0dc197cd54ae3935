"""What a user would pick instead of a network: grading bone by its Hounsfield units."""
