"""When people answer: what they did by hour, profiles from it, and how well these foretell."""
