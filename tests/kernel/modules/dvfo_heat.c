// SPDX-License-Identifier: GPL-2.0
/*
 * The thermal zone "plant-thermal", as hot as the module parameter `millicelsius` says.
 *
 * Its passive trip holds the ACPI "Processor" cooling devices, but the zone starts under the
 * user_space governor, which leaves them alone; write "step_wise" to the zone's `policy` and the
 * kernel throttles. The critical trip logs a line where a board would switch itself off. The second
 * passive trip is as on Jetson Orin: bound to "hot-surface-alert" alone, which slows nothing down.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/thermal.h>

enum { PASSIVE, CRITICAL, ALERT };

static struct thermal_trip trips[] = {
	[PASSIVE] = { .temperature = 85000, .type = THERMAL_TRIP_PASSIVE },
	[CRITICAL] = { .temperature = 105000, .type = THERMAL_TRIP_CRITICAL },
	[ALERT] = { .temperature = 70000, .type = THERMAL_TRIP_PASSIVE },
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

static struct thermal_cooling_device *alert;
static unsigned long alert_state;

static int alert_max_state(struct thermal_cooling_device *cdev, unsigned long *state)
{
	*state = 1;
	return 0;
}

static int alert_get_state(struct thermal_cooling_device *cdev, unsigned long *state)
{
	*state = alert_state;
	return 0;
}

static int alert_set_state(struct thermal_cooling_device *cdev, unsigned long state)
{
	alert_state = state;
	return 0;
}

static const struct thermal_cooling_device_ops alert_ops = {
	.get_max_state = alert_max_state,
	.get_cur_state = alert_get_state,
	.set_cur_state = alert_set_state,
};

/* The trip at which a cooling device acts, or a negative number. */
static int trip_of(struct thermal_cooling_device *cdev)
{
	if (!strcmp(cdev->type, "Processor"))
		return PASSIVE;
	return strcmp(cdev->type, "hot-surface-alert") ? -1 : ALERT;
}

static int zone_bind(struct thermal_zone_device *tz, struct thermal_cooling_device *cdev)
{
	int trip = trip_of(cdev);

	if (trip < 0)
		return 0;
	return thermal_zone_bind_cooling_device(tz, trip, cdev, THERMAL_NO_LIMIT,
						THERMAL_NO_LIMIT, THERMAL_WEIGHT_DEFAULT);
}

static int zone_unbind(struct thermal_zone_device *tz, struct thermal_cooling_device *cdev)
{
	int trip = trip_of(cdev);

	return trip < 0 ? 0 : thermal_zone_unbind_cooling_device(tz, trip, cdev);
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

	alert = thermal_cooling_device_register("hot-surface-alert", NULL, &alert_ops);
	if (IS_ERR(alert))
		return PTR_ERR(alert);
	zone = thermal_zone_device_register("plant-thermal", ARRAY_SIZE(trips), 0, NULL, &zone_ops,
					    &zone_params, 100, 0);
	if (IS_ERR(zone)) {
		err = PTR_ERR(zone);
		goto unregister_alert;
	}
	err = thermal_zone_device_enable(zone);
	if (!err)
		return 0;
	thermal_zone_device_unregister(zone);
unregister_alert:
	thermal_cooling_device_unregister(alert);
	return err;
}
module_init(dvfo_heat_init);

static void __exit dvfo_heat_exit(void)
{
	thermal_zone_device_unregister(zone);
	thermal_cooling_device_unregister(alert);
}
module_exit(dvfo_heat_exit);

MODULE_DESCRIPTION("A thermal zone with a temperature to set, for tests");
MODULE_LICENSE("GPL");
