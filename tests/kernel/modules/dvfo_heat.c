// SPDX-License-Identifier: GPL-2.0
/*
 * The thermal zone "plant-thermal", as hot as the module parameter `millicelsius` says.
 *
 * Its passive trip holds the ACPI "Processor" cooling devices, but the zone starts under the
 * user_space governor, which leaves them alone; write "step_wise" to the zone's `policy` and the
 * kernel throttles. The critical trip logs a line where a board would switch itself off.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/thermal.h>

enum { PASSIVE, CRITICAL };

static struct thermal_trip trips[] = {
	[PASSIVE] = { .temperature = 85000, .type = THERMAL_TRIP_PASSIVE },
	[CRITICAL] = { .temperature = 105000, .type = THERMAL_TRIP_CRITICAL },
};

static struct thermal_zone_device *zone;
static int millicelsius = 40000;

static int set_millicelsius(const char *text, const struct kernel_param *parameter)
{
	int err = param_set_int(text, parameter);

	if (!err && zone)
		thermal_zone_device_update(zone, THERMAL_EVENT_TEMP_SAMPLE);
	return err;
}

static const struct kernel_param_ops millicelsius_ops = {
	.set = set_millicelsius,
	.get = param_get_int,
};
module_param_cb(millicelsius, &millicelsius_ops, &millicelsius, 0644);
MODULE_PARM_DESC(millicelsius, "Temperature of the zone");

static int zone_temperature(struct thermal_zone_device *tz, int *temperature)
{
	*temperature = READ_ONCE(millicelsius);
	return 0;
}

static int trip_type(struct thermal_zone_device *tz, int trip, enum thermal_trip_type *type)
{
	*type = trips[trip].type;
	return 0;
}

static int trip_temperature(struct thermal_zone_device *tz, int trip, int *temperature)
{
	*temperature = trips[trip].temperature;
	return 0;
}

static void zone_critical(struct thermal_zone_device *tz)
{
	pr_warn_ratelimited("plant-thermal is critical; a board would switch off now\n");
}

static int zone_bind(struct thermal_zone_device *tz, struct thermal_cooling_device *cdev)
{
	if (strcmp(cdev->type, "Processor"))
		return 0;
	return thermal_zone_bind_cooling_device(tz, PASSIVE, cdev, THERMAL_NO_LIMIT,
						THERMAL_NO_LIMIT, THERMAL_WEIGHT_DEFAULT);
}

static int zone_unbind(struct thermal_zone_device *tz, struct thermal_cooling_device *cdev)
{
	if (strcmp(cdev->type, "Processor"))
		return 0;
	return thermal_zone_unbind_cooling_device(tz, PASSIVE, cdev);
}

static struct thermal_zone_device_ops zone_ops = {
	.bind = zone_bind,
	.unbind = zone_unbind,
	.get_temp = zone_temperature,
	.get_trip_type = trip_type,
	.get_trip_temp = trip_temperature,
	.critical = zone_critical,
};

static struct thermal_zone_params zone_params = { .governor_name = "user_space" };

static int __init dvfo_heat_init(void)
{
	int err;

	zone = thermal_zone_device_register("plant-thermal", ARRAY_SIZE(trips), 0, NULL, &zone_ops,
					    &zone_params, 100, 0);
	if (IS_ERR(zone))
		return PTR_ERR(zone);
	err = thermal_zone_device_enable(zone);
	if (err)
		thermal_zone_device_unregister(zone);
	return err;
}
module_init(dvfo_heat_init);

static void __exit dvfo_heat_exit(void)
{
	thermal_zone_device_unregister(zone);
}
module_exit(dvfo_heat_exit);

MODULE_DESCRIPTION("A thermal zone with a temperature to set, for tests");
MODULE_LICENSE("GPL");
