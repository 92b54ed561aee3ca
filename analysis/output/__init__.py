"""What a report writes: the page, LaTeX, tables for download, and pictures of the figures."""
