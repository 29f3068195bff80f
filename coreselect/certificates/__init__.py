"""What can be said about a selection: bounds, certificates and diagnostics."""
