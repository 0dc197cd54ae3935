"""The slice store: each labelled image once, as 16-bit HU on one in-plane grid."""
