"""The simulator: many boards at once, from device models and measured costs of the cuts."""
