"""The training systems of the papers, one plain loop a file: SAT, ACL, DynACL, AIR and their views."""
