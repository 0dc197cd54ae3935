"""Which annotation, DXA exam, history and reader's decision belongs to which file and patient."""
