"""A contact as it was at an instant, as columns."""
