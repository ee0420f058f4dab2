"""Clock domains by the kernel's interfaces."""
