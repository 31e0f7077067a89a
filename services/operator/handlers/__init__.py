"""What the operator's service answers, by theme; every look and act is recorded before it is answered."""
