// SPDX-License-Identifier: GPL-2.0
/*
 * Power monitors on i2c-stub's bus, as a device tree would declare them on a board: an INA3221
 * at 0x40 with a Jetson TX2's rails, and an INA226 at 0x41 that no one has labelled.
 */
#include <linux/err.h>
#include <linux/i2c.h>
#include <linux/module.h>
#include <linux/property.h>
#include <linux/string.h>

static const struct property_entry input_properties[] = {
	PROPERTY_ENTRY_U32("reg", 0),
	PROPERTY_ENTRY_STRING("label", "VDD_IN"),
	PROPERTY_ENTRY_U32("shunt-resistor-micro-ohms", 5000),
	{ }
};

static const struct property_entry gpu_properties[] = {
	PROPERTY_ENTRY_U32("reg", 1),
	PROPERTY_ENTRY_STRING("label", "VDD_SYS_GPU"),
	PROPERTY_ENTRY_U32("shunt-resistor-micro-ohms", 10000),
	{ }
};

static const struct property_entry cpu_properties[] = {
	PROPERTY_ENTRY_U32("reg", 2),
	PROPERTY_ENTRY_STRING("label", "VDD_SYS_CPU"),
	PROPERTY_ENTRY_U32("shunt-resistor-micro-ohms", 10000),
	{ }
};

static const struct software_node monitor = { .name = "ina3221@40" };
static const struct software_node input = { "input@0", &monitor, input_properties };
static const struct software_node gpu = { "input@1", &monitor, gpu_properties };
static const struct software_node cpu = { "input@2", &monitor, cpu_properties };
static const struct software_node *nodes[] = { &monitor, &input, &gpu, &cpu, NULL };

static struct i2c_client *ina3221, *ina226;

static int find_stub(struct device *dev, void *found)
{
	struct i2c_adapter *adapter = i2c_verify_adapter(dev);

	if (!adapter || strcmp(adapter->name, "SMBus stub driver"))
		return 0;
	*(struct i2c_adapter **)found = adapter;
	return 1;
}

static int __init dvfo_rails_init(void)
{
	struct i2c_board_info ina3221_info = { I2C_BOARD_INFO("ina3221", 0x40), .swnode = &monitor };
	struct i2c_board_info ina226_info = { I2C_BOARD_INFO("ina226", 0x41) };
	struct i2c_adapter *stub;
	int err;

	if (!i2c_for_each_dev(&stub, find_stub))
		return -ENODEV;
	err = software_node_register_node_group(nodes);
	if (err)
		return err;

	ina3221 = i2c_new_client_device(stub, &ina3221_info);
	if (IS_ERR(ina3221)) {
		err = PTR_ERR(ina3221);
		goto remove_nodes;
	}
	ina226 = i2c_new_client_device(stub, &ina226_info);
	if (IS_ERR(ina226)) {
		err = PTR_ERR(ina226);
		goto remove_ina3221;
	}
	return 0;

remove_ina3221:
	i2c_unregister_device(ina3221);
remove_nodes:
	software_node_unregister_node_group(nodes);
	return err;
}
module_init(dvfo_rails_init);

static void __exit dvfo_rails_exit(void)
{
	i2c_unregister_device(ina226);
	i2c_unregister_device(ina3221);
	software_node_unregister_node_group(nodes);
}
module_exit(dvfo_rails_exit);

MODULE_SOFTDEP("pre: i2c-stub ina3221 ina2xx");
MODULE_DESCRIPTION("Power monitors on an emulated I2C bus, for tests");
MODULE_LICENSE("GPL");
