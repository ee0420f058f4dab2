/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lets ina3221.c, unchanged, read its device tree properties (labels, shunt resistors) from
 * software nodes: Debian's x86 kernel is built without device tree support.
 */
#include <linux/hwmon.h>
#include <linux/i2c.h>
#include <linux/of.h>
#include <linux/property.h>
#include <linux/regmap.h>

#define device_node fwnode_handle
#define of_node fwnode
#define of_node_put fwnode_handle_put
#define of_device_is_available fwnode_device_is_available
#define of_property_read_bool fwnode_property_present
#define of_property_read_string fwnode_property_read_string
#define of_property_read_u32 fwnode_property_read_u32
#undef for_each_child_of_node
#define for_each_child_of_node fwnode_for_each_child_node
