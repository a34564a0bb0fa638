"""What a scan gives to people and programs: documents, tables, overlays and reports."""
