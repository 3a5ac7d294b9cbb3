"""What is written of a `Result`: tables, Slicer segments, pictures and the HTML report."""
