# All is said.
