"""The Korean edition of the notebooks: its texts, the pairs of a code cell, and what is built of both."""
