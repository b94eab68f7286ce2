"""A made-up market with known truth."""
