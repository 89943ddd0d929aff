"""How fast an iteration is beside other projects' loops over the same networks, and beside the device's limits."""
