"""Laws of the kernel's governors: which clock they choose below a cap, by the load they see."""
