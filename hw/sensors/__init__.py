"""Power, energy and temperature by the kernel's interfaces."""
