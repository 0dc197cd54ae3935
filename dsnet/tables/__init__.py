"""From the metrics of every detector to the paper's tables, its figures beside ours."""
