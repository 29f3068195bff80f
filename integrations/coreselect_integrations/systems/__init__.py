"""The training systems of the papers, one plain loop in each file: SAT, ACL, DynACL and AIR, with the views they use."""
