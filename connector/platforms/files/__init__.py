"""Files as a platform: CSV or Parquet and one mapping.toml, results as CSV and Parquet."""

from connector.platforms.files.loading import last_time, load_tables
from connector.platforms.files.mapping import Mapping, property_name, read_mapping

__all__ = ["Mapping", "last_time", "load_tables", "property_name", "read_mapping"]
