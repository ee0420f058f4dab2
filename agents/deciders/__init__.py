"""Deciders: rules, searches, frozen policies and the optimum, all behind one interface."""
