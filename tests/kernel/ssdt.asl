/*
 * Performance states for QEMU's two processors: what a laptop's firmware gives acpi-cpufreq.
 *
 * A processor's control and status register are the same byte of QEMU's pc-testdev, I/O port 0xE0
 * for the first and 0xE1 for the second. Whatever acpi-cpufreq writes there it reads back, and a
 * test can look, or meddle, through /dev/port.
 */
DefinitionBlock ("", "SSDT", 2, "DVFO", "CPUFREQ", 1)
{
    External (\_SB.CPUS.C000, ProcessorObj)
    External (\_SB.CPUS.C001, ProcessorObj)

    Scope (\_SB)
    {
        /* MHz, mW, latency us, bus master latency us, control value, status value */
        Name (DPSS, Package ()
        {
            Package () { 2035, 4000, 10, 10, 1, 1 },
            Package () { 1728, 3000, 10, 10, 2, 2 },
            Package () { 1267, 1900, 10, 10, 3, 3 },
            Package () {  806, 1000, 10, 10, 4, 4 },
            Package () {  346,  400, 10, 10, 5, 5 }
        })
    }

    Scope (\_SB.CPUS.C000)
    {
        Method (_PSS, 0) { Return (DPSS) }
        Method (_PPC, 0) { Return (0) }
        Name (_PCT, Package ()
        {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0xE0) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0xE0) }
        })
        Name (_PSD, Package () { Package () { 5, 0, 0, 0xFC, 1 } })
    }

    Scope (\_SB.CPUS.C001)
    {
        Method (_PSS, 0) { Return (DPSS) }
        Method (_PPC, 0) { Return (0) }
        Name (_PCT, Package ()
        {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0xE1) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0xE1) }
        })
        Name (_PSD, Package () { Package () { 5, 0, 1, 0xFC, 1 } })
    }
}
