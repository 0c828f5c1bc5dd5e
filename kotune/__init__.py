"""Korean tuning: a course, and a package, on instruction tuning a small language model for Korean, end to end."""
