"""One contact: what is known, and why the score is what it is."""
