"""Groups of contacts that behave alike, found again and named."""
