"""Who decides: rules, searches, frozen policies and the optimum, all behind one face."""
