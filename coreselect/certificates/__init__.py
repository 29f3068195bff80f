"""What can be stated about a selection: bounds, certificates and diagnostics."""
