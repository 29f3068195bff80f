"""The systems of the papers: SAT, ACL, DynACL, AIR, MoCo, BYOL, a plain loop or encoder in each file, with their views."""
