"""A folder of nights, stored as columns and queried."""
