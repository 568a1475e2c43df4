"""From clips and tables to records."""
